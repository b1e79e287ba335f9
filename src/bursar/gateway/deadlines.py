"""Time limits on calls under way: one timer for all of them.

`asyncio.timeout` sets a timer of its own for each use, which for limits of minutes, nearly all of which never pass, is
a twentieth of what a call costs. Here a limit is looked at a few times a second.
"""

import asyncio
from types import TracebackType

_SWEEP_S = 0.2


class Deadlines:
    """The limits of one worker. Made inside a running loop; `close` stops its timer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits: set[Limit] = set()
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    def limit(self, seconds: float) -> "Limit":
        """A context manager whose body is cancelled, and raises TimeoutError, after about `seconds`."""
        return Limit(self._limits, self._loop, self._loop.time() + seconds)

    def _sweep(self) -> None:
        now = self._loop.time()
        for limit in [limit for limit in self._limits if limit.deadline_s <= now]:
            limit.expire()
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    def close(self) -> None:
        """No limit passes any more."""
        self._timer.cancel()


class Limit:
    """One limit, on the task that enters it. Behaves as `asyncio.timeout` does, but for its precision."""

    __slots__ = ("_cancelling", "_expired", "_limits", "_loop", "_task", "deadline_s")

    def __init__(self, limits: "set[Limit]", loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        self._limits = limits
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False
        self.deadline_s = deadline_s
        """In the loop's time."""

    def shorten(self, seconds: float) -> None:
        """End in `seconds` from now, unless it ends before."""
        self.deadline_s = min(self.deadline_s, self._loop.time() + seconds)

    def expire(self) -> None:
        """The deadline has passed."""
        self._limits.discard(self)
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def __enter__(self) -> "Limit":
        task = asyncio.current_task(self._loop)
        assert task is not None, "a limit is for a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._limits.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limits.discard(self)
        task, self._task = self._task, None
        assert task is not None
        if self._expired and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
