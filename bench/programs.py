"""Programs under test and around it: started in a clean environment, watched, ended by us and by nobody else."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.load import Plan, Result

ROOT = Path(__file__).parent.parent
"""Of the repository: where `python -m bench…` finds this package."""
BURSAR = (sys.executable, "-c", "from bursar.cli import main; main()")
"""The `bursar` command, in the interpreter that runs the bench."""
_SETTINGS = ("LITELLM_", "BURSAR_", "DATABASE_", "DIRECT_URL", "OPENAI_", "ANTHROPIC_", "PG", "NUM_WORKERS", "PORT")
_STOP_S = 30.0


class BenchError(Exception):
    """The bench cannot go on; the message says why and what helps."""


class Program:
    """One program, from its start to its end."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        says_nothing: bool = False,
    ) -> None:
        """Start it. `log` gets its stderr; what it says on stdout is read with `wait_for`.

        `says_nothing`: its stdout goes to `log` too. For programs that talk while they work, which nobody reads.
        """
        self.name = name
        self._log = log
        self.started_s = time.perf_counter()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=errors if says_nothing else subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=clean_environment() | dict(environ or {}),
            )
        self._said = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, words: str, *, timeout_s: float = 60.0) -> str:
        """Its first line on stdout that has `words` in it. Raises BenchError: it ended, or it took too long."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while True:
            *lines, rest = self._said.split(b"\n")
            for line in lines:
                if words.encode() in line:
                    return line.decode()
            self._said = rest
            if not select.select([fd], [], [], max(deadline - time.monotonic(), 0.0))[0]:
                raise self._failed(f"did not say {words!r} in {timeout_s:g} s")
            piece = os.read(fd, 65536)
            if not piece:
                raise self._failed(f"ended without saying {words!r}")
            self._said += piece

    def wait_for_port(self, port: int, *, timeout_s: float = 60.0) -> None:
        """Until it accepts connections on `port`. Raises BenchError."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise self._failed(f"does not accept connections on port {port}") from None
                time.sleep(0.02)

    def check(self) -> None:
        """Raises BenchError: it has ended."""
        if self._process.poll() is not None:
            raise self._failed(f"ended with code {self._process.returncode}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help. Safe to repeat."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _failed(self, what: str) -> BenchError:
        last = self._log.read_text(errors="replace")[-2000:].strip()
        return BenchError(f"{self.name} {what}. It said:\n{last or self._said.decode(errors='replace') or '(nothing)'}")


def clean_environment() -> dict[str, str]:
    """The environment without what gateways and databases read: the bench alone decides what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}


def run_plan(plan: Plan) -> Result:
    """Run `plan` in a load generator of its own. Raises BenchError: calls failed, or it did itself."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(plan),
        capture_output=True,
        cwd=ROOT,
        env=clean_environment(),
        timeout=plan.timeout_s + 60.0,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"the load generator failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    result = msgspec.json.decode(done.stdout, type=Result)
    if result.failures:
        told = ", ".join(f"{count} × {what}" for what, count in result.failures.items())
        raise BenchError(f"calls failed: {told} ({result.calls} were answered well)")
    return result


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
