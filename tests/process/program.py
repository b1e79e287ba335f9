"""A `bursar` command as a process, watched from outside as a user does: by what it prints and how it ends."""

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import bursar
from bursar.store.identity import choose_identity
from tests.process.process_table import Process, family, survivors

BURSAR = (sys.executable, "-c", "from bursar.cli import main; main()")
TAKE_TERMINAL = ("/bin/sh", "-c", ': <"$(tty)"; exec "$@"', "sh")
"""Before a command that is started in a terminal: whoever leads a session and opens a terminal has it from then on."""
_LAUNCHER = Path(bursar.__file__).parent / "store" / "launch.py"
_OURS = ("LITELLM_", "BURSAR_", "DATABASE_", "DIRECT_", "OPENAI_", "ANTHROPIC_", "PG", "SSL_", "JSON_LOGS")
_OURS_WHOLE = {"HOST", "PORT", "NUM_WORKERS", "XDG_DATA_HOME"}

PATIENCE_S = 60.0
"""How long a slow machine gets for anything: long, because only failures wait for it."""


def clean_environment() -> dict[str, str]:
    """The environment without anything that decides what a gateway does."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k not in _OURS_WHOLE}


def ordinary_user(place: Path) -> str:
    """An identity other than root, as the launcher takes it, that can work in `place`; ourselves if we are not root."""
    if os.geteuid() != 0:
        return "self"
    needed = (_LAUNCHER, Path(sys.executable).resolve())
    found = [choose_identity(data=place / "data" / "pg", programs=path.parent) for path in needed]
    chosen = next((identity for identity in found if identity.owner is None), found[0])
    if chosen.owner is not None:
        os.chown(place, *chosen.owner)
    return chosen.launch


class Program:
    """One command, from its start to its end, with all it starts. It dies with the test process, however that ends."""

    def __init__(
        self,
        *arguments: str,
        place: Path,
        environ: Mapping[str, str] | None = None,
        identity: str = "self",
        command: tuple[str, ...] = BURSAR,
        terminal: bool = False,
    ) -> None:
        """`place`: the directory below which it keeps its files, and nobody else.

        `terminal`: it runs in one, as if a person had started it; else its output goes into a pipe.
        """
        self._place = place
        self._started_s = time.monotonic()
        # The launcher makes a session, hence a process group, and ties the command's life to ours.
        launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), identity)
        self._source, sink = pty.openpty() if terminal else os.pipe()
        self._process = subprocess.Popen(
            [*launcher, *(TAKE_TERMINAL if terminal else ()), *command, *arguments],
            stdin=sink if terminal else subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=clean_environment() | dict(environ or {}),
            cwd=place,
        )
        os.close(sink)
        self.pid = self._process.pid
        self._text = ""
        self._silent = False
        self._news = threading.Condition()
        self._enough, self._tell_enough = os.pipe()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while self._source in select.select([self._source, self._enough], [], [])[0]:
            try:
                data = os.read(self._source, 65536)
            except OSError:  # a terminal that nobody has open any more
                break
            if not data:
                break
            with self._news:
                self._text += decode(data).replace("\r\n", "\n")
                self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()

    @property
    def output(self) -> str:
        """What it and its children have printed so far."""
        with self._news:
            return self._text

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started_s

    def wait_for(self, pattern: str, *, times: int = 1, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until it has printed what matches, the `times`-th time."""

        def matches() -> list[re.Match[str]]:
            return list(re.finditer(pattern, self._text, re.MULTILINE))

        with self._news:
            self._news.wait_for(lambda: self._silent or len(matches()) >= times, timeout_s)
            found = matches()
            assert len(found) >= times, f"{pattern!r} was not printed {times} times:\n{self._text}"
            return found[times - 1]

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code. What its children still print after its end is waited for as well."""
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    @property
    def running(self) -> bool:
        """The command itself has not ended."""
        return self._process.poll() is None

    def family(self) -> list[Process]:
        """It and everything it has started."""
        return family(self.pid, self._place)

    def signal(self, number: signal.Signals) -> None:
        """To the command alone, as `kill` does."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """To its process group, as a terminal does at Ctrl-C."""
        os.killpg(self.pid, signal.SIGINT)

    def press(self, keys: bytes) -> None:
        """At its terminal."""
        os.write(self._source, keys)

    def stop_reading(self) -> None:
        """Close the terminal, or the pipe that its output goes into."""
        if self._source >= 0:
            os.write(self._tell_enough, b".")
            self._reader.join(PATIENCE_S)
            for descriptor in (self._source, self._enough, self._tell_enough):
                os.close(descriptor)
            self._source = -1

    def kill_all(self) -> None:
        """kill -9 of it and everything it has started."""
        killed: list[Process] = []
        while alive := self.family():
            for process in alive:
                process.signal(signal.SIGKILL)
            killed += alive
            assert survivors(alive, PATIENCE_S) == []
            self._process.poll()

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.kill_all()
        self._process.wait()
        self.stop_reading()
