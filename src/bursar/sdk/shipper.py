"""The thread that carries the journal into the database, with an event loop of its own.

All that needs the database's driver is here, and imported by the thread itself: the app waits for none of it.
"""

import asyncio
import logging
import platform
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from bursar.config.database_url import DatabaseTarget
from bursar.domain.errors import BursarError, JournalTaken, StoreError
from bursar.domain.secrets import Secret
from bursar.ledger.journal import Journal
from bursar.ledger.reader import JournalReader
from bursar.tasks import TaskOwner

if TYPE_CHECKING:
    from bursar.ledger.poster import Poster
    from bursar.sdk.redis_buffer import RedisBuffer
    from bursar.store.database import DatabaseOptions
    from bursar.store.ledger import PostgresLedger

log = logging.getLogger(__name__)

_AGAIN_FIRST_S = 0.5
_AGAIN_MAX_S = 30.0
_NOTIFY_S = 0.05
_PACE_S = 1.0
"""Least time from one batch to the next, unless it is full or waited for. Each takes some milliseconds of the app's
interpreter, whatever is in it."""
_BATCH_BYTES = 1536 * 1024
"""Of calls as they are written: their entries take more than twice as much."""
_MANY = 1000
"""So many calls are posted without waiting for more."""
_SWEEP_S = 60.0
_LOOK_S = 5.0
_KEEP_BYTES = 256 * 1024 * 1024
_KEEP_S = 24 * 3600.0
_RELEASE_S = 2.0
_LAST_LOOK_S = 1.0


class _Loop(asyncio.SelectorEventLoop):
    """Does in its own thread, which nobody else waits for, what others leave to an executor: at the end of a program,
    when what was recorded last is posted, executors take no work any more."""

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, function: Callable[..., object], *arguments: object
    ) -> asyncio.Future[object]:
        done = self.create_future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001  # whoever awaits it gets it
            done.set_exception(error)
        return done


class Shipper:
    """Posts one journal, and those of processes that have died, until told to end."""

    def __init__(
        self,
        journal: Journal,
        target: DatabaseTarget,
        *,
        redis: Secret | None,
        record: Callable[[bytes], None],
        look: Callable[[], None],
    ) -> None:
        """`redis`: what is posted goes through it, and is read there; `record` writes into `journal`; `look` is called
        every few seconds. The thread starts at once."""
        self.journal = journal
        self._complaint = ""
        self._target = target
        self._redis = redis
        self._record = record
        self._look = look
        self._loop = _Loop()
        self._stopping = asyncio.Event()
        self._moved = threading.Condition()
        self._poster: Poster | None = None
        self._awake = False
        """What is appended will be looked for without being told of."""
        self._many_at = _MANY
        """The sequence at which it will be looked for at once."""
        self._ended = False
        self.finished: Future[bool] = Future()
        """Whether everything was posted, once the thread has ended."""
        self._thread = threading.Thread(target=self._live, name="bursar-sdk", daemon=True)
        self._thread.start()

    @property
    def posted(self) -> int:
        """Up to which record the database has the journal."""
        return 0 if self._poster is None else self._poster.posted_sequence

    @property
    def connected(self) -> bool:
        """The database answered when it was last asked."""
        return self._poster is not None and not self._poster.away and not self._complaint

    @property
    def last_error(self) -> str:
        """Why nothing is posted at the moment; "" if there is no reason."""
        if not self._complaint and self._poster is not None and self._poster.away:
            return "the database does not answer"
        return self._complaint

    def notify(self) -> None:
        """There is something new in the journal. From any thread.

        Our thread is woken after a rest only: each time the app's threads wait for it to give up the interpreter.
        """
        if not self._awake and not self._ended:
            self._awake = True
            self._call(lambda: self._loop.call_later(_NOTIFY_S, self._tell_poster))
        elif (last := self.journal.last_sequence) >= self._many_at and not self._ended:
            self._many_at = last + _MANY
            self._call(lambda: self._hurry(last))

    def wait(self, sequence: int, timeout_s: float) -> bool:
        """Have the journal posted up to `sequence` at once, and wait for that; whether the database has it."""
        self._call(lambda: self._hurry(sequence))
        deadline = time.monotonic() + timeout_s
        with self._moved:
            while self.posted < sequence and not self._ended and (left := deadline - time.monotonic()) > 0:
                self._moved.wait(left)
            return self.posted >= sequence

    def close(self, timeout_s: float) -> bool:
        """Post what is there, and end; whether everything was posted in that time."""
        self._call(self._stopping.set)
        try:
            return self.finished.result(timeout_s)
        except TimeoutError:
            return False

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # it has ended meanwhile
            pass

    # In the thread

    def _tell_poster(self) -> None:
        if self._poster is not None:
            self._poster.notify()
        self._loop.call_later(_PACE_S, self._look_on)

    def _look_on(self) -> None:
        """Rest, unless more was appended. In this order: whoever appends afterwards tells us."""
        self._awake = False
        if self.journal.last_sequence > self.posted:
            self._awake = True
            self._tell_poster()

    def _hurry(self, sequence: int) -> None:
        if self._poster is not None:
            self._poster.posted(sequence).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _live(self) -> None:
        done = False
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                done = runner.run(self._run())
        except Exception as error:  # the edge of the thread: what is not posted stays in the journal
            log.exception("sdk.shipper_failed")
            self._complaint = f"{type(error).__name__}: {error}"
        finally:
            with self._moved:
                self._ended = True
                self._moved.notify_all()
            self.finished.set_result(done)

    async def _run(self) -> bool:
        from bursar.database_setup import database_options
        from bursar.ledger.adoption import Adopter
        from bursar.ledger.poster import Poster
        from bursar.store.budgets import PostgresBudgets
        from bursar.store.database import Database
        from bursar.store.ledger import PostgresLedger

        options = database_options(self._target)
        if not await self._persist(lambda: self._prepare(options)):
            return False
        database = Database(options)
        ledger, budgets = PostgresLedger(database), PostgresBudgets(database)
        reader = JournalReader(self.journal.directory, self.journal.id)
        buffer = self._buffer(ledger)
        store = ledger if buffer is None else buffer.ledger
        went_back = asyncio.Event()

        async def remember() -> None:
            went_back.set()

        poster = Poster(
            store,
            reader,
            journal_id=self.journal.id,
            host=platform.node(),
            pace_s=_PACE_S,
            batch_bytes=_BATCH_BYTES,
            went_back=remember,
        )
        self._poster = poster

        async def record(payload: bytes) -> None:
            self._record(payload)

        adopter = Adopter(
            ledger,
            budgets,
            root=self.journal.directory.parent,
            own=self.journal.id,
            record=record,
            host=platform.node(),
            keep_bytes=_KEEP_BYTES,
            keep_s=_KEEP_S,
            went_back=went_back,
        )
        background = TaskOwner("sdk")
        background.start(self._again("adopter", adopter.run), "adopter")
        background.start(self._again("tending", lambda: self._tend(poster)), "tending")
        if buffer is not None:
            background.start(self._again("redis", buffer.reader.run), "redis")
        try:
            background.start(self._stop_when_told(adopter.look, poster.stop), "stop")
            done = await self._persist(lambda: self._post(poster), stop_at_once=False)
            await background.cancel()
            done = done and self.posted == self.journal.last_sequence
            if done and poster.epoch is not None:
                async with asyncio.timeout(_RELEASE_S):
                    await budgets.release(self.journal.id, poster.epoch, self.posted)
            return done
        except (BursarError, TimeoutError) as error:
            log.warning("sdk.not_released reason=%s", error)
            return False
        finally:
            reader.close()
            if buffer is not None:
                await buffer.close()
            await database.close()

    def _buffer(self, ledger: "PostgresLedger") -> "RedisBuffer | None":
        if self._redis is None:
            return None
        try:
            from bursar.sdk.redis_buffer import RedisBuffer

            return RedisBuffer(self._redis, ledger, journal_id=self.journal.id, host=platform.node(), keep=self._record)
        except ImportError:
            log.warning("sdk.no_redis reason=redis is not installed: pip install 'bursar[redis]'")
        except ValueError as error:
            log.warning("sdk.no_redis reason=REDIS_URL: %s", error)
        return None

    async def _prepare(self, options: "DatabaseOptions") -> None:
        """Bring the database up to date, if the role may. Raises StoreError."""
        import asyncpg

        from bursar.store.database import connect
        from bursar.store.migrate import known_migrations, migrate, pending_migrations

        connection = await connect(options)
        try:
            if not await pending_migrations(connection, known_migrations()):
                return
            try:
                await migrate(connection, lambda message: log.warning("sdk.database %s", message))
            except asyncpg.InsufficientPrivilegeError as error:
                raise StoreError(
                    f"the database lacks tables of ours, and this role may not make them ({error}). Run `bursar db "
                    "migrate` with one that may; until then calls are kept in the journal."
                ) from error
        finally:
            await connection.close()

    async def _post(self, poster: "Poster") -> bool:
        """Post until told to stop. False: the database is away. Raises as `Poster.run` does."""

        async def posted(_batch: Sequence[memoryview]) -> None:
            self._complaint = ""
            with self._moved:
                self._moved.notify_all()

        return await poster.run(on_posted=posted)

    async def _persist(self, attempt: Callable[[], Awaitable[bool | None]], *, stop_at_once: bool = True) -> bool:
        """Try until it works, or until told to stop; whether it did. What it cannot do is visible, and told once."""
        delay = _AGAIN_FIRST_S
        told = ""
        while True:
            try:
                done = await attempt() is not False
                self._complaint = ""
                return done
            except JournalTaken as error:
                self._complain(error, told)
                return False
            except Exception as error:  # noqa: BLE001  # whatever it is: the app goes on, and the journal keeps all
                told = self._complain(error, told)
            if self._stopping.is_set():
                return False
            try:
                await asyncio.wait_for(self._stopping.wait(), delay)
            except TimeoutError:
                pass
            else:
                if stop_at_once:
                    return False
            delay = min(delay * 2, _AGAIN_MAX_S)

    def _complain(self, error: Exception, told: str) -> str:
        self._complaint = str(error) if isinstance(error, BursarError) else f"{type(error).__name__}: {error}"
        if self._complaint != told:
            log.warning("sdk.not_posted reason=%s", self._complaint)
        return self._complaint

    async def _stop_when_told(self, look: Callable[[], Awaitable[int]], stop: Callable[[], None]) -> None:
        """Children that were forked may have ended a moment ago: what they left is looked for once more."""
        await self._stopping.wait()
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                await look()
        except (BursarError, OSError) as error:  # TimeoutError is one: the next process goes on
            log.info("sdk.not_adopted reason=%s", error)
        finally:
            stop()

    async def _again(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception:  # the edge of a task
                log.exception("sdk.%s_failed", name)
            await asyncio.sleep(_AGAIN_MAX_S)

    async def _tend(self, poster: "Poster") -> None:
        from bursar.ledger.retention import Retention

        retention = Retention(self.journal.directory, keep_bytes=_KEEP_BYTES, keep_s=_KEEP_S)
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            self._look()
            if time.monotonic() - swept_at > _SWEEP_S:
                swept_at = time.monotonic()
                try:
                    retention.sweep(before=poster.segment)
                except OSError as error:
                    log.info("journal.not_swept reason=%s", error)
