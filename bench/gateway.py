"""Bursar with everything on: `bursar serve` with a virtual key that has a budget and limits, journal, embedded
PostgreSQL, prices and log rows."""

import http.client
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.books import BooksReader
from bench.cpu import children_of, cpu_s, own_cpu_s, program_of, resident_bytes, tree_cpu_s
from bench.gateway_config import ANSWERS, STREAMS, gateway_config
from bench.programs import BURSAR, BenchError, Program, free_port
from bench.subjects import CpuSeconds, Subject, Target
from bench.upstream import Upstream
from bursar.store.embedded import EmbeddedPostgres

PROVIDER_KEY = "sk-provider-key-of-the-gateway"
"""What it shows the provider: its part of the bill."""
_MASTER_KEY = "sk-master-of-the-benchmark"
_LIMITS = {
    "max_budget": 1_000_000.0,
    "budget_duration": "30d",
    "rpm_limit": 10**9,
    "tpm_limit": 10**12,
    "max_parallel_requests": 10**6,
}
"""Of the virtual key: never reached, and checked for each call."""
_POLL_S = 0.001
_READY_S = 60.0
_CLOCK_MARGIN = timedelta(milliseconds=2)
"""The log table's times are whole milliseconds."""


class _Key(msgspec.Struct):
    key: str


class Gateway:
    """One gateway in a directory of its own, that can be started again."""

    def __init__(self, place: Path, upstream: Upstream, *, workers: int = 1) -> None:
        self._place = place
        self._workers = workers
        self._program: Program | None = None
        self._books: BooksReader | None = None
        self._counted_from = datetime.now(UTC)
        self._port = free_port()
        place.chmod(0o711)  # started by root, the database runs as another user, who passes through here
        self._config = place / "config.yaml"
        self._config.write_text(gateway_config(upstream, provider_key=PROVIDER_KEY))

    def start(self) -> float:
        """Start it; seconds from exec to the first answer of its health check. Raises BenchError."""
        self._program = Program(
            "bursar serve",
            [
                *(*BURSAR, "serve", "--config", self._config, "--port", str(self._port)),
                *("--workers", str(self._workers), "--data-dir", self._place / "data"),
            ],
            log=self._place / "bursar.log",
            environ={"LITELLM_MASTER_KEY": _MASTER_KEY},
        )
        deadline = time.monotonic() + _READY_S
        while not self._healthy():
            if time.monotonic() > deadline:
                raise BenchError(f"bursar serve was not ready in {_READY_S:g} s")
            time.sleep(_POLL_S)
        taken_s = time.perf_counter() - self._program.started_s
        self._program.wait_for("Bursar is ready on")
        return taken_s

    def stop(self) -> None:
        """End it in order. Safe to repeat."""
        if self._books is not None:
            self._books.close()
            self._books = None
        if self._program is not None:
            self._program.stop()
            self._program = None

    def subject(self) -> Subject:
        """It, with a new virtual key."""
        key = self._virtual_key()
        self._counted_from = datetime.now(UTC)
        return Subject(
            "bursar",
            Target(self._port, ANSWERS, key),
            Target(self._port, STREAMS, key),
            self.cpu,
            lambda: self._children()[0],
            self.settle,
        )

    @property
    def books(self) -> BooksReader:
        """Of the running gateway."""
        if self._books is None:
            self._books = BooksReader(EmbeddedPostgres(self._place / "data").url())
        return self._books

    def settle(self, calls: int) -> None:
        """Wait until the `calls` answered since it was asked last are in the database. Raises BenchError."""
        self.books.wait_for_rows(calls, since=self._counted_from)
        self._counted_from = datetime.now(UTC) + _CLOCK_MARGIN
        time.sleep(2 * _CLOCK_MARGIN.total_seconds())  # so that no later call begins before

    def cpu(self) -> CpuSeconds:
        """CPU of its processes so far."""
        workers, database = self._children()
        return CpuSeconds(cpu_s(workers), own_cpu_s(self._pid), tree_cpu_s(database))

    def resident_bytes(self) -> int:
        """Of its largest worker."""
        return max(resident_bytes(pid) for pid in self._children()[0])

    @property
    def _pid(self) -> int:
        assert self._program is not None
        return self._program.pid

    def _children(self) -> tuple[list[int], int]:
        """Its workers, and its database server."""
        children = children_of(self._pid)
        databases = [pid for pid in children if program_of(pid) == "postgres"]
        workers = [pid for pid in children if pid not in databases]
        if len(workers) != self._workers or len(databases) != 1:
            raise BenchError(f"bursar serve has {len(workers)} workers and {len(databases)} database servers")
        return workers, databases[0]

    def _healthy(self) -> bool:
        """Whether `/health/liveliness` answers 200 now. Raises BenchError: the program has ended."""
        assert self._program is not None
        self._program.check()
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5.0) as connection:
                connection.sendall(b"GET /health/liveliness HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def _virtual_key(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30.0)
        try:
            connection.request(
                "POST",
                "/key/generate",
                body=msgspec.json.encode(
                    {"key_alias": f"bench-{time.time_ns()}", "models": [ANSWERS, STREAMS], **_LIMITS}
                ),
                headers={"authorization": f"Bearer {_MASTER_KEY}", "content-type": "application/json"},
            )
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"no virtual key: {answer.status} {body.decode(errors='replace')[:500]}")
        return msgspec.json.decode(body, type=_Key).key
