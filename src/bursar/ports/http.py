"""What the server and the handlers of requests are to each other."""

from collections.abc import Callable
from typing import Protocol

from bursar.wire.http import FieldLines, Request


class Reply(Protocol):
    """The answer to one request, as the server lets a handler write it.

    Writes never fail: when the client has left they go nowhere and `gone` says so.
    """

    @property
    def gone(self) -> bool:
        """The client's connection is closed: nobody reads what is written from now on."""

    @property
    def ended(self) -> bool:
        """The client has ended its side of the connection, or is `gone`. It has nearly always left; but it may read on,
        and what is written tells."""

    @property
    def started(self) -> bool:
        """The status line and headers are out: what follows can only be body."""

    def send(self, status: int, fields: FieldLines, body: bytes) -> None:
        """A complete answer: framing, date, connection and what every answer carries are added to `fields`."""

    def start(self, status: int, fields: FieldLines) -> None:
        """Begin an answer of unknown length; `write` and `finish` follow."""

    def write(self, data: bytes) -> None:
        """Some more of the body; empty data writes nothing."""

    def finish(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """Close the connection at once, so that the client sees the body break off."""

    async def drained(self) -> None:
        """Wait until the client has read enough for more to be written; returns at once when it is `gone`."""

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the client has `ended`, and again when it is `gone`; at once if it has. The last
        one set counts."""


class Handler(Protocol):
    """What answers requests."""

    async def __call__(self, request: Request, reply: Reply, /) -> None:
        """Answer `request` through `reply`, completely."""


class RoutedHandler(Handler, Protocol):
    """A handler whose paths cannot all be listed."""

    def answers(self, request: Request) -> bool:
        """Whether the request's path is one of its."""
