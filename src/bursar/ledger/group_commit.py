"""What many calls record in one turn of the event loop, written to the journal together: one write instead of dozens.

Implements `ports.ledger.Recorder`. Where calls come singly there is nothing to write together: after a turn with one
record the next few are written at once, without a turn's wait.

With each promise the room for its end is set aside, so that a full disk refuses new calls and loses none that runs. An
end that is larger than its room, when the disk has no more, is cut to the money.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bursar.domain.errors import JournalError
from bursar.ledger.brief import brief
from bursar.ledger.confirmation import Confirmation
from bursar.ledger.journal import Journal
from bursar.ledger.segment import FRAME_BYTES
from bursar.ports.ledger import Promise

log = logging.getLogger(__name__)

END_ROOM_BYTES = 4096
"""Set aside for the end of one attempt, frame included: twice what an end commonly takes."""
_END_MAX_BYTES = END_ROOM_BYTES - FRAME_BYTES
_ALONE = 16
"""So many records are written at once after one that was alone in its turn."""
_TRY_AGAIN_S = 1.0
_CALM_S = 10.0
"""Without a refusal for so long, the journal is well again: on a full disk the room that ends leave lets a call pass
now and then."""


class _Line(NamedTuple):
    """A record on its way."""

    payload: bytes
    ends_due: int = 0
    """How many more ends are to come once it is on record: 1 for a promise, -1 for an end."""
    keep: bool = False
    """It stays when the journal does not take it."""
    promise: Promise | None = None


class GroupCommit:
    """The only writer of `journal`. Made inside a running loop."""

    def __init__(
        self, journal: Journal, *, appended: Callable[[], None], confirmation: Confirmation | None = None
    ) -> None:
        """`appended` is called after each write, for the poster to look. `confirmation`: what promises wait for after
        they are written; None: nothing."""
        self._journal = journal
        self._appended = appended
        self._confirmation = confirmation
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Line] = []
        self._watching: list[asyncio.Future[None]] = []
        self._unconfirmed: asyncio.Future[None] | None = None
        """Until then ends that are written are not safe yet."""
        self._scheduled = False
        self._at_once = _ALONE
        self._ends_due = 0
        """Promises on record whose end is not: room for so many is set aside."""
        self._refusing = False
        self._refused_at_s = 0.0
        self._trying_again: asyncio.TimerHandle | None = None

    @property
    def accepts(self) -> bool:
        """No record was refused in the last seconds. Without calls nobody would find out that the disk is well."""
        return not self._refusing or self._loop.time() > self._refused_at_s + _CALM_S

    def promise(self, payload: bytes) -> Promise:
        """See `ports.ledger.Recorder.promise`. One that is cancelled before the end of the turn is not recorded."""
        promise = Promise(loop=self._loop)
        if self._confirmation is not None and (reason := self._confirmation.unlikely):
            promise.set_exception(JournalError(f"nothing is promised: {reason}"))
        else:
            self._add(_Line(payload, 1, False, promise))
        return promise

    def end(self, payload: bytes) -> None:
        """See `ports.ledger.Recorder.end`."""
        self._add(_Line(payload, -1, True))

    def report(self, payload: bytes) -> None:
        """See `ports.ledger.Recorder.report`."""
        self._add(_Line(payload))

    def record(self, payload: bytes) -> Promise:
        """Record what stands for itself. Awaited, it is on disk; raises JournalError when awaited: it is not."""
        promise = Promise(loop=self._loop)
        self._add(_Line(payload, promise=promise))
        return promise

    def written(self) -> asyncio.Future[None]:
        """See `ports.ledger.Recorder.written`."""
        watching: asyncio.Future[None] = self._loop.create_future()
        if self._waiting and self._scheduled:
            self._watching.append(watching)
        elif self._unconfirmed is None or self._unconfirmed.done():
            watching.set_result(None)
        else:
            self._unconfirmed.add_done_callback(lambda _: _release([watching]))
        return watching

    def flush(self) -> bool:
        """See `ports.ledger.Recorder.flush`."""
        lines = [line for line in self._waiting if line.promise is None or not line.promise.cancelled()]
        self._waiting = []
        if lines:
            self._write(lines)
        if self._watching:
            self._tell_watchers()
        return not self._waiting

    def close(self) -> bool:
        """Write what is waiting, and no more after that. False: the journal did not take all of it."""
        flushed = self.flush()
        if self._trying_again is not None:
            self._trying_again.cancel()
        if self._confirmation is not None:
            self._confirmation.close()
        return flushed

    def _add(self, line: _Line) -> None:
        self._waiting.append(line)
        if self._scheduled:
            return
        if self._at_once:
            self._at_once -= 1
            self.flush()
        else:
            self._scheduled = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        if len(self._waiting) == 1:
            self._at_once = _ALONE
        self.flush()

    # Writing

    def _write(self, lines: Sequence[_Line]) -> None:
        try:
            self._append(lines)
        except JournalError as error:
            left = lines[error.recorded :]
            self._keep(self._append_ends([line for line in left if line.keep]))
            self._refuse([line for line in left if not line.keep], error)
        else:
            if self._refusing and self._loop.time() > self._refused_at_s + _CALM_S:
                self._refusing = False
                log.warning("journal.accepts_again directory=%s", self._journal.directory)

    def _append_ends(self, lines: Sequence[_Line]) -> Sequence[_Line]:
        """Write ends into the room that was set aside for them; those that were not written."""
        for cut, room_of_others in ((False, True), (True, True), (True, False)):
            if not lines:
                break
            try:
                self._append([_cut(line) for line in lines] if cut else lines, room_of_others=room_of_others)
                return []
            except JournalError as error:  # a short write is followed by a new segment, a lack of room by a smaller try
                lines = lines[error.recorded :]
        return lines

    def _append(self, lines: Sequence[_Line], *, room_of_others: bool = True) -> None:
        """Write all of them, or raise JournalError; what is on record is confirmed in either case."""
        due = self._ends_due + sum([line.ends_due for line in lines])
        payloads = [line.payload for line in lines]
        try:
            self._journal.append_all(payloads, room=due * END_ROOM_BYTES if room_of_others else 0)
        except JournalError as error:
            self._on_record(lines[: error.recorded])
            raise
        self._on_record(lines)

    def _refuse(self, lines: Sequence[_Line], error: JournalError) -> None:
        if lines:
            self._refused_at_s = self._loop.time()
            if not self._refusing:
                self._refusing = True
                log.critical("journal.refuses reason=%s", error)
        for line in lines:
            if line.promise is not None:
                line.promise.set_exception(error)

    def _keep(self, lines: Sequence[_Line]) -> None:
        """They wait in memory for the journal to recover."""
        if lines:
            self._waiting += lines
            if self._trying_again is None:
                log.critical("journal.ends_in_memory waiting=%d", len(self._waiting))
                self._trying_again = self._loop.call_later(_TRY_AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._trying_again = None
        self.flush()

    # What was written

    def _on_record(self, lines: Sequence[_Line]) -> None:
        confirmation = self._confirmation
        wait_for: list[_Line] = []
        for line in lines:
            self._ends_due += line.ends_due
            if (promise := line.promise) is not None:
                promise.recorded = True
            if confirmation is not None and (confirmation.for_ends or line.ends_due > 0):
                wait_for.append(line)
            elif promise is not None:
                promise.set_result(None)
        if lines:
            self._appended()
        if confirmation is not None and wait_for:
            confirmed = confirmation.confirmed(self._journal.last_sequence)
            confirmed.add_done_callback(partial(self._confirmed, wait_for))
            if confirmation.for_ends:
                self._unconfirmed = confirmed

    def _confirmed(self, lines: Sequence[_Line], confirmed: asyncio.Future[None]) -> None:
        failure = confirmed.exception()
        if failure is not None:
            log.error("journal.not_confirmed records=%d reason=%s", len(lines), failure)
            self._keep([line._replace(ends_due=0) for line in lines if line.keep])  # once more: it changes nothing
        for line in lines:
            if line.promise is None or line.promise.done():
                continue
            if failure is None:
                line.promise.set_result(None)
            else:
                line.promise.set_exception(failure)

    def _tell_watchers(self) -> None:
        watching, self._watching = self._watching, []
        if self._unconfirmed is not None and not self._unconfirmed.done():
            self._unconfirmed.add_done_callback(lambda _: _release(watching))
        else:
            _release(watching)


def _cut(line: _Line) -> _Line:
    return line._replace(payload=brief(line.payload, _END_MAX_BYTES))


def _release(watching: Sequence[asyncio.Future[None]]) -> None:
    for watcher in watching:
        if not watcher.done():
            watcher.set_result(None)
