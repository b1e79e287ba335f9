"""The poster: carries a journal into the database, in order, exactly once, for as long as it takes.

It reads the journal's files, not a queue: what waits costs disk, never memory, and a live journal and an orphaned one
are carried by the same code.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Protocol

import msgspec

from bursar.domain.errors import JournalError, JournalTaken, StoreRefused, StoreTooSlow, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.ports.ledger import Batch, JournalPosition, LedgerStore, SetAside
from bursar.wire.spend import entries_of

log = logging.getLogger(__name__)

_GATHER_S = 0.05
"""How long the poster waits for company for a record: a batch costs the database little more than a record."""
_PACE_S = 0.2
"""Least time from one batch to the next, unless it is full. A batch costs the database a millisecond before its first
record; without this, a moderate load is posted in a hundred small ones a second, and every call waits for them."""
_BATCH_BYTES = 4 * 1024 * 1024
_LEAST_BYTES = 1024
"""About one record, which is posted whole whatever its size."""
_FULL_BYTES = 1024 * 1024
"""With so much the next batch follows at once."""
_AHEAD_S = 0.025
"""When a full batch is under way for so long, the database has all of it and works: time to read the next one. It takes
a tenth of a second; before, what it is made of would still wait for us."""
_LOOK_BACK_S = 10.0
"""How often a poster that has nothing to post looks whether the database still has what it acknowledged."""
_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 5.0


class RecordReader(Protocol):
    """What is to be posted: a journal on disk (`ledger.reader.JournalReader`), or what no disk takes."""

    next_sequence: int
    """Of the record that is expected next."""

    @property
    def segment(self) -> int:
        """Those below it have been read to their end."""

    def belongs_to(self, books: str) -> None:
        """Whoever finds it is to know which books it is in. Raises OSError."""

    def seek(self, sequence: int) -> None:
        """Go to the record `sequence`, or the oldest after it that there is. Raises JournalError, OSError."""

    def read(self, max_bytes: int = ...) -> list[memoryview]:
        """The next records, about `max_bytes` of them, without a gap between them. Raises JournalError, OSError."""

    def read_on(self, max_bytes: int) -> list[memoryview]:
        """What follows them in the next segment, without a gap. Raises JournalError, OSError."""


class _Waiter(NamedTuple):
    """Somebody who waits for a record to be in the database."""

    sequence: int
    posted: asyncio.Future[None]


class _Piece(NamedTuple):
    """Records that follow each other, read together to be posted together."""

    records: list[memoryview]
    before: int
    """The sequence before the first of them."""
    segment: int
    """Of the journal: none of them is from one below it."""
    entries: bytes
    """Of all of them, merged."""

    @property
    def upto(self) -> int:
        return self.before + len(self.records)


class Poster:
    """Carries one journal. The owner of the journal runs it; one at a time."""

    def __init__(
        self,
        store: LedgerStore,
        reader: RecordReader,
        *,
        journal_id: JournalId,
        host: str,
        heir: bool = False,
        pace_s: float = _PACE_S,
        batch_bytes: int = _BATCH_BYTES,
        went_back: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`heir`: the journal's process is dead, and must not commit any more. `pace_s`: least time from one batch to
        the next, unless it is full or waited for. `batch_bytes`: of the journal, at most, in a batch. `went_back` is
        awaited when the database has forgotten what it had acknowledged."""
        self._store = store
        self._heir = heir
        self._pace_s = pace_s
        self._reader = reader
        self._journal_id = journal_id
        self._host = host
        self._position: JournalPosition | None = None
        self._epoch: int | None = None
        self._batch_most = batch_bytes
        self._batch_bytes = batch_bytes
        """Less while the database does not manage so much in time."""
        self._piece: _Piece | None = None
        """Read and not posted yet; it follows `posted_sequence`, maybe with a gap of records that are gone."""
        self._ahead: _Piece | None = None
        """Read while the one before it was being posted, to follow it."""
        self._astray = False
        """Reading ahead has failed midway: the reader may be behind records that nobody has."""
        self._segment = 0
        self._wake = asyncio.Event()
        self._idle = False
        """Nothing has come for so long that it is time to look back."""
        self._stopping = False
        self._away = False
        self._went_back = went_back
        self._doubt: JournalTaken | None = None
        self._waiters: list[_Waiter] = []
        self.posted_sequence = 0

    @property
    def epoch(self) -> int | None:
        """Under which the journal is posted; None: the database has not said yet."""
        return self._epoch

    @property
    def away(self) -> bool:
        """The database did not answer when it was last asked."""
        return self._away

    @property
    def segment(self) -> int:
        """Of the journal: those below it are posted whole."""
        return self._segment

    def notify(self) -> None:
        """There is something new in the journal."""
        self._wake.set()

    def posted(self, sequence: int) -> asyncio.Future[None]:
        """Done when the database has all records up to `sequence`, which are posted without waiting for company.

        Fails with StoreUnavailable when the database does not answer, and with whatever ends `run`.
        """
        posted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if sequence <= self.posted_sequence:
            posted.set_result(None)
        else:
            self._waiters.append(_Waiter(sequence, posted))
            self._wake.set()
        return posted

    def stop(self) -> None:
        """Have `run` return when it has posted what is there, or when the database does not answer."""
        self._stopping = True
        self._wake.set()

    async def run(
        self, *, follow: bool = True, on_posted: Callable[[Sequence[memoryview]], Awaitable[None]] | None = None
    ) -> bool:
        """Post the journal to its end and, if `follow`, go on with what is appended until `stop`.

        `on_posted` is awaited with the records of each batch that is in the database.
        True when everything is posted; False when it stopped before because the database is away.
        Raises JournalTaken, JournalError. It may be run again after any exception: it asks the database how far it is.
        """
        self._lose_place()
        delay = _RETRY_FIRST_S
        clock = asyncio.get_running_loop().time
        while True:
            begun_s = clock()
            try:
                piece = await self._next_piece()
                if piece is not None:
                    await self._post_piece(piece)
                    self._batch_bytes = min(self._batch_bytes * 2, self._batch_most)
                    if on_posted is not None:
                        await on_posted(piece.records)
                self._came_back()
                delay = _RETRY_FIRST_S
            except StoreUnavailable as error:
                self._went_away(error)
                delay = _RETRY_FIRST_S if self._ask_less(error) else delay
                if self._stopping:
                    return False
                await self._pause(delay)
                delay = min(delay * 2, _RETRY_MAX_S)
                continue
            except JournalTaken as error:
                self._lose_place()
                if self._doubt is not None:
                    self._fail_waiters(error)
                    raise
                self._doubt = error  # or the database went back: where it is now will tell
                continue
            except BaseException as error:
                self._lose_place()
                self._fail_waiters(error)
                raise
            if piece is not None:
                if follow and len(piece.entries) < _FULL_BYTES:
                    await self._pause(begun_s + self._pace_s - clock())
                continue
            if self._stopping or not follow:
                return True
            await self._rest()

    async def _rest(self) -> None:
        """Wait until something comes, and for its company; or until it is time to look back."""
        self._wake.clear()
        try:
            async with asyncio.timeout(_LOOK_BACK_S):
                await self._wake.wait()
        except TimeoutError:
            self._idle = True
        else:
            await self._pause(_GATHER_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when asked to stop, nor while somebody waits for a record."""
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                while not self._stopping and not self._waiters:
                    await self._wake.wait()
                    self._wake.clear()
        except TimeoutError:
            pass

    async def _look_back(self) -> None:
        """A database that was restored may lack what it acknowledged: while nothing follows, only this shows it."""
        if self._position is not None:
            now = await self._store.register(self._journal_id, self._host)
            if (now.sequence, now.epoch) != (self.posted_sequence, self._position.epoch):
                self._lose_place()

    async def _next_piece(self) -> _Piece | None:
        if self._idle:
            self._idle = False
            await self._look_back()
        if self._position is None:
            position = await self._store.register(self._journal_id, self._host)
            if self._heir:
                epoch = await self._store.take_over(self._journal_id, position.epoch)
                position = replace(position, epoch=epoch)
                self._heir = False
            if self._epoch is not None and position.epoch > self._epoch:
                taken = f"journal {self._journal_id} is under epoch {position.epoch}, not {self._epoch}"
                raise self._doubt or JournalTaken(taken)
            if position.sequence < self.posted_sequence:
                log.critical(
                    "ledger.database_went_back journal=%s acknowledged=%d posted=%d",
                    *(self._journal_id, self.posted_sequence, position.sequence),
                )
                if self._went_back is not None:
                    await self._went_back()
            self._reader.seek(position.sequence + 1)
            self._segment = self._reader.segment
            self._assign(position.books)
            self._position, self.posted_sequence = position, position.sequence
            self._epoch, self._doubt = position.epoch, None
        if self._piece is None:
            self._piece = self._read(after=self.posted_sequence)
        return self._piece

    def _assign(self, books: str) -> None:
        try:
            if books:
                self._reader.belongs_to(books)
        except OSError as error:  # the disk is full, or whoever reads may not write there
            log.warning("journal.not_assigned journal=%s reason=%s", self._journal_id, error)

    def _read(self, *, after: int) -> _Piece | None:
        """What follows in the journal, where the reader is behind `after`. Raises JournalError, OSError."""
        segment = self._reader.segment
        records = self._reader.read(self._batch_bytes)
        if not records:
            return None
        if (size := sum(map(len, records))) < self._batch_bytes // 2:
            records += self._reader.read_on(self._batch_bytes - size)
        before = self._reader.next_sequence - len(records) - 1
        if before > after:
            log.critical("ledger.records_gone journal=%s first=%d last=%d", self._journal_id, after + 1, before)
        return _Piece(records, before, segment, merge_entries(records))

    def _read_ahead(self, piece: _Piece) -> None:
        self._astray = True
        with suppress(JournalError, OSError):  # it will be read again, and whoever does that may fail
            self._ahead = ahead = self._read(after=piece.upto)
            if ahead is not None:
                self._store.expect(ahead.entries)
            self._astray = False

    async def _post_piece(self, piece: _Piece) -> None:
        """Post it, and have what follows ready by then, if there is much to do."""
        self._segment = piece.segment
        reading = None
        if len(piece.entries) >= _FULL_BYTES:
            reading = asyncio.get_running_loop().call_later(_AHEAD_S, self._read_ahead, piece)
        try:
            await self._post(piece.records, piece.entries)
        finally:
            if reading is not None:
                reading.cancel()
        self._piece, self._ahead = self._ahead, None
        if self._astray:
            self._lose_place()

    async def _post(self, batch: Sequence[memoryview], entries: bytes) -> None:
        """Post `batch`; when the database refuses it, in halves, until the record to blame stands alone."""
        try:
            await self._post_as(batch, entries)
        except StoreRefused as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                for half in (batch[:middle], batch[middle:]):
                    await self._post(half, merge_entries(half))
            else:
                await self._post_remains(batch[0], str(error))

    @property
    def _reached(self) -> int:
        """The sequence before the next record to post: beyond `posted_sequence` where records between are gone."""
        return self.posted_sequence if self._piece is None else max(self.posted_sequence, self._piece.before)

    async def _post_remains(self, record: memoryview, reason: str) -> None:
        """The money of a record that is refused, without what the caller said; the whole of it is set aside."""
        sequence = self._reached + 1
        log.error("ledger.record_refused journal=%s sequence=%d reason=%s", self._journal_id, sequence, reason)
        payload = entries_of(record.tobytes())
        aside = SetAside(reason, payload)
        try:
            await self._post_as([record], without_presentation(payload), aside)
        except (StoreRefused, msgspec.MsgspecError):
            await self._post_as([record], b"[]", aside)

    async def _post_as(self, batch: Sequence[memoryview], entries: bytes, set_aside: SetAside | None = None) -> None:
        assert self._position is not None
        upto = self._reached + len(batch)
        await self._store.post(
            Batch(
                journal_id=self._journal_id,
                epoch=self._position.epoch,
                after=self.posted_sequence,
                upto=upto,
                entries=entries,
                missing=self._reached - self.posted_sequence,
                set_aside=set_aside,
            )
        )
        self.posted_sequence = upto
        if self._waiters:
            self._tell_waiters()

    def _tell_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.posted.done():
                continue  # given up
            if waiter.sequence > self.posted_sequence:
                self._waiters.append(waiter)
            else:
                waiter.posted.set_result(None)

    def _fail_waiters(self, error: BaseException) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.posted.done():
                waiter.posted.set_exception(StoreUnavailable(f"posting has ended: {error}"))

    def _went_away(self, error: StoreUnavailable) -> None:
        self._lose_place()
        self._fail_waiters(error)
        if not self._away:
            self._away = True
            log.warning("ledger.store_away journal=%s reason=%s", self._journal_id, error)

    def _ask_less(self, error: StoreUnavailable) -> bool:
        """Whether it was the batch that was too large, and the next one is smaller."""
        if not isinstance(error, StoreTooSlow) or self._batch_bytes <= _LEAST_BYTES:
            return False
        self._batch_bytes //= 2
        return True

    def _lose_place(self) -> None:
        # A commit whose answer was lost may have happened: ask for the position again before going on.
        self._position = self._piece = self._ahead = None
        self._astray = False

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            log.warning("ledger.store_back journal=%s posted=%d", self._journal_id, self.posted_sequence)


_ENTRIES = b"[{"
_ENTRY = b'{"kind":"'
_OPEN = b'[{"kind":"open","attempt_id":"'
_ENDS = (b'[{"kind":"settle","attempt_id":"', b'[{"kind":"void","attempt_id":"')
_ID_BYTES = 36


def merge_entries(batch: Sequence[memoryview]) -> bytes:
    """One JSON array of all entries of the records, each of which is such an array or becomes one (`wire.spend`).
    Without `open` entries whose end is among the records, and says again what they say: so the database gets those of
    attempts that are under way.

    Records are known by their first bytes, as `domain.accounting` encodes them; one that looks different stays.
    """
    payloads = [p if (p := record.tobytes()).startswith(_ENTRIES) else entries_of(p) for record in batch]
    ended = {
        payload[len(end) : len(end) + _ID_BYTES] for payload in payloads for end in _ENDS if payload.startswith(end)
    }
    return b"[%b]" % b",".join([payload[1:-1] for payload in payloads if not _is_open_of(payload, ended)])


def _is_open_of(payload: bytes, ended: set[bytes]) -> bool:
    """Whether the record is nothing but the `open` of one of the attempts `ended`."""
    return (
        payload.startswith(_OPEN)
        and payload[len(_OPEN) : len(_OPEN) + _ID_BYTES] in ended
        and payload.count(_ENTRY) == 1
    )


_PRESENTATION: dict[str, object] = {
    "metadata": {},
    "spend_logs_metadata": None,
    "error_information": None,
    "metadata_dropped": None,
    "request_tags": [],
    "end_user": "",
    "user": "",
    "user_agent": "",
    "session_id": None,
    "requester_ip_address": "",
    "litellm_call_id": "",
    "model_group": "",
}


def without_presentation(payload: bytes) -> bytes:
    """The entries of a record with everything a caller chose taken out of its calls: only our own words are left.

    NUL, which the database takes nowhere, goes wherever it stands. Raises msgspec.MsgspecError: it is not a record.
    """
    entries = msgspec.json.decode(payload.replace(rb"\u0000", rb"\ufffd"), type=list[dict[str, object]])
    for entry in entries:
        body = entry.get("body")
        if not isinstance(body, dict):
            continue
        if entry.get("kind") in ("call", "open"):
            body |= {name: value for name, value in _PRESENTATION.items() if name in body}
            if "request_id" in body:
                body["request_id"] = entry["call_id"]
        body.pop("provider_usage", None)
    return msgspec.json.encode(entries)
