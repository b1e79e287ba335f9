"""The load generator: calls over kept-alive connections, each answer checked to be good and whole.

    python -m bench.load < plan.json > result.json

It is a program of its own, so that it never waits for the bench and its CPU is not a subject's. All subjects get the
same one. It reads answers with llhttp, and only as far as it must to know that they are whole.
"""

import asyncio
import gc
import resource
import sys
import time
from collections import Counter, deque
from typing import cast

import httptools
import msgspec
import uvloop

from bench.arrivals import PreciseTimer, poisson_arrivals
from bench.spread import percentile

_FAILURES_MAX = 20
"""A run with failures fails anyway; after so many it ends."""
_DONE = b"data: [DONE]\n\n"


class Closed(msgspec.Struct, frozen=True, tag=True):
    """Each connection sends its next call when it has the answer to the last one."""

    connections: int
    calls: int
    ramp_s: float = 0.0
    """The connections begin spread over so many seconds."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """Calls come when they come, whether or not earlier ones are answered. Latency counts from when they were due."""

    connections: int
    rate_per_s: float
    duration_s: float
    seed: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send to whom."""

    port: int
    """On 127.0.0.1."""
    body: str
    headers: list[tuple[str, str]] = []
    path: str = "/v1/chat/completions"
    pace: Closed | Open
    streamed: bool = False
    events: int = 0
    """How many events a whole stream has, `[DONE]` not counted."""
    timeout_s: float = 120.0
    """The whole run; what is not answered by then has failed."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    calls: int
    """Answered well and completely."""
    failures: dict[str, int]
    """What went wrong, and how often."""
    events: int
    """Of streams, `[DONE]` not counted."""
    seconds: float
    """From the first call's time to the last answer."""
    offered_per_s: float | None
    """Of the open pace: what was sent, to compare with `per_s`."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    late_p99_ms: float
    """How late the generator itself sent, where a connection was free. Part of the latency."""
    cpu_s: float
    """The generator's own."""

    @property
    def per_s(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds if self.seconds else 0.0


class _Answer(msgspec.Struct):
    """A whole chat completion has these."""

    choices: list[msgspec.Raw]
    usage: msgspec.Raw


_decode_answer = msgspec.json.Decoder(_Answer).decode


class _Connection(asyncio.Protocol):
    """One connection with at most one call on it."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._streamed = load.plan.streamed
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._due_s: float | None = None
        """When the call under way was due; None: there is none."""
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._complete = False
        self._reusable = False
        self._pieces: list[bytes] = []
        self._events = 0
        self._tail = b""

    def send(self, request: bytes, due_s: float) -> None:
        """Make a call."""
        assert self._transport is not None
        self._begin()
        self._due_s = due_s
        self._transport.write(request)

    def close(self) -> None:
        """Whatever is under way is not waited for."""
        self._due_s = None
        if self._transport is not None:
            self._transport.abort()

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def connection_lost(self, exc: Exception | None) -> None:  # asyncio's signature
        self._end("cut off", reusable=False)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}", reusable=False)
            return
        if self._complete:
            self._complete = False
            self._end(self._complaint(), reusable=self._reusable)

    def _end(self, complaint: str | None, *, reusable: bool) -> None:
        """The call under way has ended, well if there is no complaint."""
        due_s, self._due_s = self._due_s, None
        if not reusable:
            self.close()
        if due_s is not None:
            self._load.ended(self, due_s, complaint, events=self._events, reusable=reusable)
        elif not reusable:
            self._load.lost(self)

    def _complaint(self) -> str | None:
        """What is wrong with a complete answer."""
        if self._status != 200:
            return f"status {self._status}"
        if self._streamed:
            if not self._tail.endswith(_DONE):
                return "no [DONE]"
            self._events -= 1
            if self._events != self._load.plan.events:
                return f"{self._events} events"
            return None
        try:
            whole = bool(_decode_answer(b"".join(self._pieces)).choices)
        except msgspec.MsgspecError:
            whole = False
        return None if whole else "not an answer"

    # The parser (llhttp)

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self._streamed:
            self._pieces.append(body)
            return
        # An event ends in an empty line, which may be cut in two.
        self._events += body.count(b"\n\n") + (self._tail[-1:] == b"\n" and body[:1] == b"\n")
        self._tail = body[-len(_DONE) :] if len(body) >= len(_DONE) else (self._tail + body)[-len(_DONE) :]

    def on_message_complete(self) -> None:
        self._complete = True
        self._reusable = self._parser.should_keep_alive()


class _Load:
    """One run. What both paces share: connections, and what has come of the calls."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._loop = asyncio.get_running_loop()
        self._request = _encode(plan)
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[float] = deque()
        """Times at which calls were due that no connection was free for."""
        self._finished = asyncio.Event()
        self._latencies_s: list[float] = []
        self._lateness_s: list[float] = []
        self._failures: Counter[str] = Counter()
        self._events = 0
        self._unsent = 0
        self._expected = 0
        self._start_s = 0.0
        self._last_s = 0.0

    async def run(self) -> Result:
        for _ in range(self.plan.pace.connections):
            await self._connect()
        timer: PreciseTimer | None = None
        before = _own_cpu_s()
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                if isinstance(self.plan.pace, Open):
                    timer = self._begin_open(self.plan.pace)
                else:
                    self._begin_closed(self.plan.pace)
                await self._finished.wait()
        except TimeoutError:
            missing = self._expected - len(self._latencies_s) - self._failures.total()
            self._failures[f"not answered in {self.plan.timeout_s:g} s"] += missing
        finally:
            self._expected = 0
            if timer is not None:
                timer.close()
            for task in list(self._opening):
                task.cancel()
            for connection in list(self._open):
                connection.close()
        return self._result(_own_cpu_s() - before)

    def _begin_closed(self, pace: Closed) -> None:
        self._expected = self._unsent = pace.calls
        self._start_s = time.monotonic()
        for number in range(pace.connections):
            self._loop.call_later(pace.ramp_s * number / pace.connections, self._send_next)

    def _begin_open(self, pace: Open) -> PreciseTimer:
        arrivals = poisson_arrivals(rate_per_s=pace.rate_per_s, duration_s=pace.duration_s, seed=pace.seed)
        self._expected = len(arrivals)
        self._start_s = time.monotonic() + 0.01
        due = deque(self._start_s + at for at in arrivals)

        def send_due() -> None:
            now = time.monotonic()
            while due and due[0] <= now:
                self._arrived(due.popleft(), now)
            if due:
                timer.set(due[0])

        timer = PreciseTimer(self._loop, send_due)
        if due:
            timer.set(due[0])
        else:
            self._finished.set()
        return timer

    def _arrived(self, due_s: float, now_s: float) -> None:
        if self._idle:
            self._lateness_s.append(now_s - due_s)
            self._idle.popleft().send(self._request, due_s)
        else:
            self._waiting.append(due_s)

    def _send_next(self) -> None:
        """Of the closed pace: one more call on a free connection, if there is one to make."""
        if self._idle and self._unsent and self._expected:
            self._unsent -= 1
            self._idle.popleft().send(self._request, time.monotonic())

    def _free(self, connection: _Connection) -> None:
        """`connection` can take a call."""
        self._idle.append(connection)
        if isinstance(self.plan.pace, Closed):
            self._send_next()
        elif self._waiting:
            self._idle.popleft().send(self._request, self._waiting.popleft())

    # What connections tell

    def ended(
        self, connection: _Connection, due_s: float, complaint: str | None, *, events: int, reusable: bool
    ) -> None:
        """A call has its answer, or will get none."""
        self._last_s = time.monotonic()
        if complaint is None:
            self._latencies_s.append(self._last_s - due_s)
            self._events += events
        else:
            self._failures[complaint] += 1
        failures = self._failures.total()
        if len(self._latencies_s) + failures >= self._expected or failures >= _FAILURES_MAX:
            self._expected = 0
            self._finished.set()
        elif reusable:
            self._free(connection)
        else:
            self.lost(connection)

    def lost(self, connection: _Connection) -> None:
        """The connection is of no more use."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._expected:
            task = self._loop.create_task(self._replace())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> _Connection:
        _, connection = await self._loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.plan.port)
        self._open.add(connection)
        self._idle.append(connection)
        return connection

    async def _replace(self) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self._failures[f"no connection: {error.strerror}"] += 1
            self._finished.set()
            return
        self._idle.remove(connection)
        self._free(connection)

    def _result(self, cpu_s: float) -> Result:
        latencies = sorted(self._latencies_s) or [0.0]
        seconds = max(self._last_s - self._start_s, 0.0)
        pace = self.plan.pace
        return Result(
            calls=len(self._latencies_s),
            failures=dict(self._failures),
            events=self._events,
            seconds=seconds,
            offered_per_s=pace.rate_per_s if isinstance(pace, Open) else None,
            p50_ms=percentile(latencies, 50) * 1e3,
            p90_ms=percentile(latencies, 90) * 1e3,
            p99_ms=percentile(latencies, 99) * 1e3,
            late_p99_ms=percentile(sorted(self._lateness_s) or [0.0], 99) * 1e3,
            cpu_s=cpu_s,
        )


async def run_load(plan: Plan) -> Result:
    """Run `plan` in this process. Raises OSError: there is no connection to be had at the beginning."""
    return await _Load(plan).run()


def _encode(plan: Plan) -> bytes:
    body = plan.body.encode()
    fields = [
        ("host", f"127.0.0.1:{plan.port}"),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *plan.headers,
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"POST {plan.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read a plan, run it, write the result."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    gc.disable()  # its pauses would be told as the subject's; what a run leaves behind is small
    result = uvloop.run(run_load(plan))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
