"""The oracle as a server: in a process of its own, in forked workers, or inside a test."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bursar.oracle.app import Oracle
from bursar.oracle.bill import Biller, BillLine, read_bill
from bursar.oracle.tariff import Tariffs
from bursar.ports.http import Handler, Reply
from bursar.server.connection import Exchange
from bursar.server.limits import Limits
from bursar.server.listener import HttpServer
from bursar.server.supervisor import Supervisor
from bursar.wire.http import Request

_LIMITS = Limits(body_max_bytes=256 * 1024 * 1024, keepalive_timeout_s=600.0, half_close=False)
"""A provider is patient with its gateway, and takes larger bodies than any gateway would send. A gateway that ends its
side of a connection has hung up: the bill must know that also while nothing is being written."""


def serve_oracle(
    sock: socket.socket,
    ready: Callable[[], None] = lambda: None,
    *,
    bill: Path | None = None,
    tariffs: Tariffs | None = None,
    grace_s: float = 2.0,
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; then let calls end within `grace_s`. Fit for a forked child.

    With its socket bound it is a supervisor's worker, which calls `ready` once it listens. `bill`: the file to append
    to, None for none. Raises OSError if it cannot be opened.
    """
    uvloop.run(_serve(sock, bill=bill, tariffs=tariffs or Tariffs(), grace_s=grace_s, ready=ready))


def serve_in_workers(
    sock: socket.socket,
    workers: int,
    *,
    bill: Path | None,
    tariffs: Tariffs,
    grace_s: float,
    on_ready: Callable[[], None],
) -> int:
    """`serve_oracle` in several processes that share the socket and the bill; the exit code."""

    def work(ready: Callable[[], None]) -> None:
        serve_oracle(sock, ready, bill=bill, tariffs=tariffs, grace_s=grace_s)

    targets = [(f"oracle {number}", work) for number in range(1, workers + 1)]
    return Supervisor(targets, grace_s=grace_s, on_ready=on_ready).run()


async def _serve(
    sock: socket.socket, *, bill: Path | None, tariffs: Tariffs, grace_s: float, ready: Callable[[], None]
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a supervisor's worker leaves Ctrl-C to it
        loop.add_signal_handler(signal.SIGINT, ended.set)
    biller = Biller(bill, tariffs)
    server = HttpServer(_handler(Oracle(biller, tariffs)), _LIMITS)
    await server.listen(sock)
    ready()
    try:
        await ended.wait()
    finally:
        await server.close(grace_s)
        biller.shut()


def _handler(oracle: Oracle) -> Handler:
    async def handle(request: Request, reply: Reply) -> None:
        assert isinstance(reply, Exchange), "only the server's own replies can be taken over"
        await oracle(request, reply)

    return handle


@dataclass(slots=True)
class RunningOracle:
    """An oracle in the test's own process and loop."""

    base_url: str
    """With `/v1`, as clients and gateways want it."""
    port: int
    bill_path: Path
    requests: list[Request] = field(default_factory=list)
    """All requests so far, as they arrived."""

    def bill(self) -> list[BillLine]:
        """The bill so far."""
        return read_bill(self.bill_path)


@asynccontextmanager
async def running_oracle(tariffs: Tariffs | None = None, *, grace_s: float = 0.0) -> AsyncIterator[RunningOracle]:
    """An oracle on a free loopback port, with a bill of its own that is gone afterwards."""
    tariffs = tariffs or Tariffs()
    with tempfile.TemporaryDirectory(prefix="oracle-") as directory:
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        running = RunningOracle(f"http://127.0.0.1:{port}/v1", port, Path(directory) / "bill.jsonl")
        biller = Biller(running.bill_path, tariffs)
        server = HttpServer(_handler(Oracle(biller, tariffs, on_request=running.requests.append)), _LIMITS)
        await server.listen(sock)
        try:
            yield running
        finally:
            await server.close(grace_s)
            biller.shut()
