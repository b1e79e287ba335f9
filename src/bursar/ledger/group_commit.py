"""What many calls record in one turn of the event loop, written to the journal together: one write instead of dozens.

Implements `ports.Recorder`. Where calls come singly there is nothing to write together: after a turn with one record
the next few are written at once, without a turn's wait.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from bursar.domain.errors import JournalError
from bursar.ledger.journal import Journal

log = logging.getLogger(__name__)

_ALONE = 16
"""So many records are written at once after one that was alone in its turn."""


class _Line(NamedTuple):
    """A record on its way."""

    payload: bytes
    keep: bool
    """It stays when the journal does not take it."""
    promise: asyncio.Future[None] | None


class GroupCommit:
    """The only writer of `journal` in the calls' way. Made inside a running loop."""

    def __init__(self, journal: Journal, *, appended: Callable[[], None]) -> None:
        """`appended` is called after each write, for the poster to look."""
        self._journal = journal
        self._appended = appended
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Line] = []
        self._watching: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._at_once = _ALONE

    def promise(self, payload: bytes) -> asyncio.Future[None]:
        """See `ports.Recorder.promise`. One that is cancelled before the end of the turn is not recorded."""
        promise = self._loop.create_future()
        self._add(_Line(payload, False, promise))
        return promise

    def report(self, payload: bytes, *, keep: bool = True) -> None:
        """See `ports.Recorder.report`."""
        self._add(_Line(payload, keep, None))

    def written(self) -> asyncio.Future[None]:
        """See `ports.Recorder.written`."""
        watching = self._loop.create_future()
        if self._waiting and self._scheduled:
            self._watching.append(watching)
        else:
            watching.set_result(None)
        return watching

    def flush(self) -> bool:
        """See `ports.Recorder.flush`."""
        lines = [line for line in self._waiting if line.promise is None or not line.promise.cancelled()]
        self._waiting = []
        if lines:
            self._write(lines)
        watching, self._watching = self._watching, []
        for watcher in watching:
            if not watcher.done():
                watcher.set_result(None)
        return not self._waiting

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

    def _write(self, lines: list[_Line]) -> None:
        try:
            self._journal.append_all([line.payload for line in lines])
        except JournalError as error:
            done, failed = lines[: error.recorded], lines[error.recorded :]
            self._waiting = [line for line in failed if line.keep]
            log.critical("journal.refuses kept=%d reason=%s", len(self._waiting), error)
            for line in failed:
                if line.promise is not None:
                    line.promise.set_exception(error)
        else:
            done = lines
        for line in done:
            if line.promise is not None:
                line.promise.set_result(None)
        if done:
            self._appended()
