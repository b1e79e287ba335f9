"""Calls that were answered, and of which LiteLLM has not told yet.

LiteLLM tells of asynchronous calls later, in the app's event loop: a program whose loop ends takes those events with
it, and of a stream that nobody reads to its end it says nothing at all. Its hooks are called before the answer
is handed to the app; what they see is remembered here until the event comes. What it never comes of is booked from
what was seen: at the end of the program, when the call's own objects are gone, or when it is long overdue.
"""

import logging
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace

log = logging.getLogger(__name__)

_OVERDUE_S = 300.0
"""LiteLLM cancels what takes 20 s; before that it may wait behind 50,000 others. And a stream of which nobody has read
a chunk for so long is not read any more."""
_BOOKED_MAX = 10_000


class Sweep(Enum):
    """Which calls are booked though their event has not come."""

    OVERDUE = 1
    """Those that have waited for too long, and streams that nobody reads any more."""
    ANSWERED = 2
    """All but streams that may still be read."""
    ALL = 3
    """The program ends: nothing comes any more."""


class Reader(Enum):
    """Of a stream: how it shows that nobody reads on."""

    KNOWN = 1
    """Its object is gone."""
    WATCHED = 2
    """The same, and it tells itself what it gets."""
    UNKNOWN = 3
    """Nothing comes for long."""


@dataclass(slots=True)
class Answered:
    """A call, and what came of it so far."""

    details: Mapping[str, object]
    response: object
    since_s: float
    reader: Reader | None = None
    """None: it is no stream."""

    @property
    def begun(self) -> bool:
        """The provider has begun to answer."""
        return self.reader is None or self.details.get("completion_start_time") is not None

    def due(self, what: Sweep, overdue_s: float) -> bool:
        """Whether nothing is to be expected of it any more, if it has waited since before `overdue_s`."""
        if what is Sweep.ALL:
            return True
        overdue = self.since_s < overdue_s
        if self.reader is None:
            return overdue or what is Sweep.ANSWERED
        return self.reader is Reader.UNKNOWN and self.begun and overdue


@dataclass(slots=True)
class _Choice:
    message: object


@dataclass(slots=True)
class StreamSeen:
    """The part of a stream that the app has read, in the form of a whole answer."""

    id: str = ""
    usage: object = None
    texts: list[str] = field(default_factory=list)

    @property
    def choices(self) -> list[_Choice]:
        """One, with all that was seen."""
        return [_Choice(SimpleNamespace(content="".join(self.texts)))]

    def see(self, chunk: object) -> None:
        """One more chunk of LiteLLM's."""
        self.id = self.id or str(getattr(chunk, "id", "") or "")
        usage = getattr(chunk, "usage", None)
        self.usage = usage if usage is not None else self.usage
        for choice in getattr(chunk, "choices", None) or ():
            delta = getattr(choice, "delta", None)
            for name in ("content", "reasoning_content"):
                if isinstance(text := getattr(delta, name, None), str):
                    self.texts.append(text)


class Pending:
    """Such calls, known by the identity of LiteLLM's own record of them."""

    def __init__(self, book: Callable[[Mapping[str, object], object], None]) -> None:
        """`book` is called with the record and the response of calls whose event does not come."""
        self._book = book
        self._answered: dict[int, Answered] = {}
        self._left: deque[Answered] = deque()
        """Streams that nobody reads any more."""
        self._booked: OrderedDict[tuple[object, object], object] = OrderedDict()
        """The latest calls that were booked, at their event or before it."""

    def answered(self, details: Mapping[str, object], response: object) -> None:
        """The app is about to get `response`."""
        self._answered[id(details)] = Answered(details, response, time.monotonic())

    def watch(self, owner: object, details: Mapping[str, object], *, reader: Reader = Reader.KNOWN) -> StreamSeen:
        """A stream is asked for; once `owner`, LiteLLM's object of the call, is gone, nobody will read more of it. What
        is seen of it stands in the answer."""
        seen = StreamSeen()
        self._answered[id(details)] = Answered(details, seen, time.monotonic(), reader)
        weakref.finalize(owner, self._gone, id(details)).atexit = False
        return seen

    def asked(self, details: Mapping[str, object]) -> None:
        """A stream is asked for, and only its chunks will tell whether somebody reads it."""
        self._answered[id(details)] = Answered(details, StreamSeen(), time.monotonic(), Reader.UNKNOWN)

    def streamed(self, details: Mapping[str, object], chunk: object) -> None:
        """The app gets one more chunk."""
        found = self._answered.get(id(details))
        if found is not None and found.reader is not Reader.WATCHED and isinstance(found.response, StreamSeen):
            found.since_s = time.monotonic()
            found.response.see(chunk)

    def told(self, details: Mapping[str, object], *, failed: bool = False) -> bool:
        """The event has come; whether it is news: the call has not been booked without it, nor told of before. LiteLLM
        tells twice of calls that it makes through another of its interfaces, from two threads at once."""
        waited = self._answered.pop(id(details), None) is not None
        if failed:
            return True  # others follow under the same name: the next attempt, a fallback
        return self._is_new(details) or waited

    def sweep(self, what: Sweep) -> None:
        """Book calls whose event has not come. One that cannot be read holds up no other."""
        while (left := self._next_left()) is not None:
            try:
                self._note(left)
                self._book_untold(left)
            except Exception:  # the app's own objects are looked at: they may fail in any way
                log.exception("sdk.not_booked")
        overdue_s = time.monotonic() - _OVERDUE_S
        for key, found in list(self._answered.items()):
            try:
                if found.due(what, overdue_s):
                    self._book_due(key, found)
            except Exception:  # as above
                log.exception("sdk.not_booked")
                self._answered.pop(key, None)

    def forget(self) -> None:
        """They are another process's, which this one was forked from."""
        self._answered.clear()
        self._left.clear()

    def _gone(self, key: int) -> None:
        """Called by the garbage collector, in the middle of anything: it may hold the recorder's lock."""
        found = self._answered.get(key)
        if found is not None and found.reader in (Reader.KNOWN, Reader.WATCHED):
            del self._answered[key]
            self._left.append(found)

    def _book_due(self, key: int, found: Answered) -> None:
        self._note(found)  # first: the event may come at any moment
        if self._answered.pop(key, None) is not None:
            self._book_untold(found)

    def _next_left(self) -> Answered | None:
        try:
            return self._left.popleft()
        except IndexError:
            return None

    def _note(self, found: Answered) -> None:
        if found.begun:
            self._is_new(found.details)

    def _is_new(self, details: Mapping[str, object]) -> bool:
        """Whether this is the first that is heard of the call's end, from whatever thread."""
        if details.get("litellm_call_id") is None:
            return True
        mine = object()
        first = self._booked.setdefault(_name(details), mine) is mine
        if len(self._booked) > _BOOKED_MAX:
            self._booked.popitem(last=False)
        return first

    def _book_untold(self, found: Answered) -> None:
        if found.begun:
            self._book(found.details, found.response)


def _name(details: Mapping[str, object]) -> tuple[object, object]:
    """What a call's record says in each of its copies. Apps may give several calls the same id, and one of any type."""
    return str(details.get("litellm_call_id")), details.get("start_time")
