"""A real Redis of a test's own, which can be killed and started again."""

import signal
import socket
import subprocess
import time
from pathlib import Path

from bench.debian import find_program


class RedisServer:
    """One that keeps what it is told (AOF, synced at each command)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = find_program("redis-server", "redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        place = ("--port", str(self._port), "--dir", str(self._directory))
        keeping = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = subprocess.Popen([str(self._program), *place, *keeping], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
