"""The thread that carries the journal into the database, with an event loop of its own.

All that needs the database's driver is here, and imported by the thread itself: the app waits for none of it.
"""

import asyncio
import importlib
import logging
import platform
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bursar.config.database_url import DatabaseTarget
from bursar.domain.errors import BursarError, JournalTaken, StoreError
from bursar.domain.ids import JournalId
from bursar.domain.secrets import Secret
from bursar.ledger.journal import Journal
from bursar.ledger.reader import JournalReader
from bursar.tasks import TaskOwner

if TYPE_CHECKING:
    from bursar.ledger.adoption import Adopter
    from bursar.ledger.poster import Poster
    from bursar.sdk.memory import MemoryPoster
    from bursar.sdk.redis_buffer import RedisBuffer
    from bursar.store.budgets import PostgresBudgets
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
_NEEDED = (
    "bursar.database_setup",
    "bursar.ledger.adoption",
    "bursar.ledger.poster",
    "bursar.ledger.retention",
    "bursar.sdk.memory",
    "bursar.store.budgets",
    "bursar.store.database",
    "bursar.store.ledger",
    "bursar.store.migrate",
)
"""Modules that the thread imports."""


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

    def __del__(self) -> None:
        """asyncio's fails where there were no file descriptors to make it of, and the interpreter prints that."""
        with suppress(AttributeError):
            super().__del__()


class Owner(Protocol):
    """Whose journal it is. Called in the shipper's thread."""

    def record(self, payload: bytes) -> None:
        """Put entries on record in the journal."""

    def look(self) -> None:
        """Called every few seconds."""

    def in_memory(self) -> Sequence[bytes]:
        """Records that no disk takes, those that have waited longest."""

    def holds_any(self) -> bool:
        """Whether there are such records. From any thread, and without a lock."""

    def has_posted(self, records: Sequence[bytes]) -> None:
        """The database has these of them."""


class Shipper:
    """Posts one journal, and those of processes that have died, until told to end."""

    def __init__(
        self,
        journal: Journal | None,
        target: DatabaseTarget,
        *,
        redis: Secret | None,
        owner: Owner,
        others: Sequence[Path] = (),
    ) -> None:
        """`journal`: None, while no disk takes one; `redis`: what is posted goes through it, and is read there;
        `others`: where journals are that are looked after as well as those beside `journal`. The thread starts at
        once. Raises OSError: no file descriptors are left for its loop; RuntimeError: no thread can be started."""
        self.journal = journal
        self._complaint = ""
        self._target = target
        self._redis = redis
        self._owner = owner
        self._others = others
        self._loop = _Loop()
        self._stopping = asyncio.Event()
        self._moved = threading.Condition()
        self._spilled = asyncio.Event()
        """Somebody waits for what is in memory."""
        self._poster: Poster | None = None
        self._books = target.label
        """Which database it is: as the URL names it, until the database says so itself."""
        self._memory: MemoryPoster | None = None
        """None: the database has not answered yet."""
        self._awake = False
        """What is appended will be looked for without being told of."""
        self._many_at = _MANY
        """The sequence at which it will be looked for at once."""
        self._ended = False
        self.finished: Future[bool] = Future()
        """Whether everything was posted, once the thread has ended."""
        self._thread = threading.Thread(target=self._live, name="bursar-sdk", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    @property
    def posted(self) -> int:
        """Up to which record the database has the journal."""
        return 0 if self._poster is None else self._poster.posted_sequence

    @property
    def connected(self) -> bool:
        """The database answered when it was last asked."""
        return self._memory is not None and not self._away and not self._complaint

    @property
    def last_error(self) -> str:
        """Why nothing is posted at the moment; "" if there is no reason."""
        if not self._complaint and self._away:
            return "the database does not answer"
        return self._complaint

    @property
    def _away(self) -> bool:
        return any(poster is not None and poster.away for poster in (self._poster, self._memory))

    def notify(self) -> None:
        """There is something new in the journal. From any thread.

        Our thread is woken after a rest only: each time the app's threads wait for it to give up the interpreter.
        """
        if not self._awake and not self._ended:
            self._awake = True
            self._call(lambda: self._loop.call_later(_NOTIFY_S, self._tell_poster))
        elif (last := self._last) >= self._many_at and not self._ended:
            self._many_at = last + _MANY
            self._call(lambda: self._hurry(last))

    def wait(self, sequence: int, timeout_s: float) -> bool:
        """Have the journal posted up to `sequence`, and what is in memory, at once, and wait for that; whether the
        database has it.

        Whoever waits may be a signal handler, whose thread holds the owner's lock: nobody asks for that while he holds
        `_moved`.
        """
        self._call(lambda: self._hurry(sequence))
        timeout_s = _possible(timeout_s)
        deadline = time.monotonic() + timeout_s
        if not self._moved.acquire(timeout=timeout_s):
            return self._has(sequence)
        try:
            while not (done := self._has(sequence)) and not self._ended and (left := deadline - time.monotonic()) > 0:
                self._moved.wait(left)
            return done
        finally:
            self._moved.release()

    def _has(self, sequence: int) -> bool:
        return self.posted >= sequence and not self._owner.holds_any()

    @property
    def _last(self) -> int:
        return 0 if self.journal is None else self.journal.last_sequence

    def close(self, timeout_s: float) -> bool:
        """Post what is there, and end; whether everything was posted in that time."""
        self.end()
        try:
            return self.finished.result(_possible(timeout_s))
        except TimeoutError:
            return False

    def end(self) -> None:
        """End, without being waited for."""
        self._call(self._stopping.set)

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
        if self._last > self.posted:
            self._awake = True
            self._tell_poster()

    def _hurry(self, sequence: int) -> None:
        self._spilled.set()
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
        if not await self._persist(_load):
            return False
        from bursar.database_setup import database_options
        from bursar.sdk.memory import MemoryPoster
        from bursar.store.budgets import PostgresBudgets
        from bursar.store.database import Database
        from bursar.store.ledger import PostgresLedger

        options = database_options(self._target)
        if not await self._persist(lambda: self._prepare(options)):
            return False
        database = Database(options)
        ledger, budgets = PostgresLedger(database), PostgresBudgets(database)
        self._memory = memory = MemoryPoster(
            ledger, budgets, host=platform.node(), first=self._owner.in_memory, posted=self._owner.has_posted
        )
        background = TaskOwner("sdk")
        background.start(self._again("memory", lambda: self._post_memory(memory)), "memory")
        try:
            if self.journal is None:
                await self._stopping.wait()
                done = True
            else:
                done = await self._carry(self.journal, ledger, budgets, background)
            await background.cancel()
            memory.stop()
            done = await memory.post() and done
            async with asyncio.timeout(_RELEASE_S):
                await memory.release()
            return done
        except (BursarError, TimeoutError) as error:
            log.warning("sdk.not_released reason=%s", error)
            return False
        finally:
            await database.close()

    async def _carry(
        self, journal: Journal, ledger: "PostgresLedger", budgets: "PostgresBudgets", background: TaskOwner
    ) -> bool:
        """Post the journal, and look after those of others, until told to end; whether everything is posted."""
        from bursar.ledger.poster import Poster

        reader = JournalReader(journal.directory, journal.id)
        buffer = self._buffer(journal, ledger, self._books)
        store = ledger if buffer is None else buffer.ledger
        roots = (journal.directory.parent, *self._others)
        went_back = {root: asyncio.Event() for root in roots}

        async def remember() -> None:
            for event in went_back.values():
                event.set()

        poster = Poster(
            store,
            reader,
            journal_id=journal.id,
            host=platform.node(),
            pace_s=_PACE_S,
            batch_bytes=_BATCH_BYTES,
            went_back=remember,
        )
        self._poster = poster
        adopters = self._adopters(journal.id, ledger, budgets, went_back)
        for adopter in adopters:
            background.start(self._again("adopter", adopter.run), "adopter")
        background.start(self._again("tending", lambda: self._tend(journal, poster)), "tending")
        if buffer is not None:
            background.start(self._again("redis", buffer.reader.run), "redis")
        try:
            background.start(self._stop_when_told(adopters, poster.stop), "stop")
            done = await self._persist(lambda: self._post(poster), stop_at_once=False)
            await background.cancel()
            done = done and self.posted == journal.last_sequence
            if done and poster.epoch is not None:
                async with asyncio.timeout(_RELEASE_S):
                    await budgets.release(journal.id, poster.epoch, self.posted)
            return done
        finally:
            reader.close()
            if buffer is not None:
                await buffer.close()

    def _adopters(
        self, own: JournalId, ledger: "PostgresLedger", budgets: "PostgresBudgets", roots: Mapping[Path, asyncio.Event]
    ) -> "list[Adopter]":
        from bursar.ledger.adoption import Adopter

        async def record(payload: bytes) -> None:
            self._owner.record(payload)

        return [
            Adopter(
                ledger,
                budgets,
                root=root,
                own=own,
                record=record,
                host=platform.node(),
                keep_bytes=_KEEP_BYTES,
                keep_s=_KEEP_S,
                went_back=went_back,
            )
            for root, went_back in roots.items()
        ]

    async def _post_memory(self, memory: "MemoryPoster") -> None:
        while True:
            self._spilled.clear()
            await memory.post()
            with self._moved:
                self._moved.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._spilled.wait()

    def _buffer(self, journal: Journal, ledger: "PostgresLedger", books: str) -> "RedisBuffer | None":
        if self._redis is None:
            return None
        try:
            from bursar.sdk.redis_buffer import RedisBuffer

            return RedisBuffer(
                self._redis,
                ledger,
                books=books,
                journal_id=journal.id,
                host=platform.node(),
                keep=self._owner.record,
            )
        except ImportError:
            log.warning("sdk.no_redis reason=redis is not installed: pip install 'bursar[redis]'")
        except ValueError as error:
            log.warning("sdk.no_redis reason=REDIS_URL: %s", error)
        return None

    async def _prepare(self, options: "DatabaseOptions") -> None:
        """Bring the database up to date, if the role may, and learn which it is. Raises StoreError."""
        import asyncpg

        from bursar.store.database import connect, identify
        from bursar.store.migrate import known_migrations, migrate, pending_migrations

        connection = await connect(options)
        try:
            self._books = await identify(connection) or self._target.label
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
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                pass
            else:
                if stop_at_once:
                    return False
            delay = min(delay * 2, _AGAIN_MAX_S)

    def _complain(self, error: Exception, told: str) -> str:
        self._complaint = _reason(error)
        if self._complaint != told:
            log.warning("sdk.not_posted reason=%s", self._complaint)
        return self._complaint

    async def _stop_when_told(self, adopters: "Sequence[Adopter]", stop: Callable[[], None]) -> None:
        """Children that were forked may have ended a moment ago: what they left is looked for once more."""
        await self._stopping.wait()
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                for adopter in adopters:
                    await adopter.look()
        except (BursarError, OSError) as error:  # TimeoutError is one: the next process goes on
            log.info("sdk.not_adopted reason=%s", error)
        finally:
            stop()

    async def _again(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception as error:  # the edge of a task
                if _is_refused(error):
                    log.warning("sdk.%s_failed reason=%s", name, _reason(error))
                else:
                    log.exception("sdk.%s_failed", name)
            await asyncio.sleep(_AGAIN_MAX_S)

    async def _tend(self, journal: Journal, poster: "Poster") -> None:
        from bursar.ledger.retention import Retention

        retention = Retention(journal.directory, keep_bytes=_KEEP_BYTES, keep_s=_KEEP_S)
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            self._owner.look()
            if time.monotonic() - swept_at > _SWEEP_S:
                swept_at = time.monotonic()
                try:
                    retention.sweep(before=poster.segment)
                except OSError as error:
                    log.info("journal.not_swept reason=%s", error)


def _possible(timeout_s: float) -> float:
    """The nearest that a thread can wait."""
    return min(max(timeout_s, 0.0), threading.TIMEOUT_MAX)


async def _load() -> None:
    """Import what the thread needs, which takes file descriptors: an app may have none left at the moment."""
    for name in _NEEDED:
        importlib.import_module(name)


def _is_refused(error: BaseException) -> bool:
    """The role lacks a privilege."""
    driver = sys.modules.get("asyncpg")  # it may have failed to be imported
    return driver is not None and isinstance(error, driver.InsufficientPrivilegeError)


def _reason(error: Exception) -> str:
    if _is_refused(error):
        return (
            f"this role may not do what the books need: {error}. Post as the role that owns the tables, or grant this "
            "one SELECT, INSERT, UPDATE and DELETE on all of them, in the schema bursar and in LiteLLM's, and USAGE on "
            "both schemas; until then calls are kept in the journal."
        )
    return str(error) if isinstance(error, BursarError) else f"{type(error).__name__}: {error}"
