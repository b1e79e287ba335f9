"""The data directory: one owner at a time, readable by nobody else.

lock      held by the running `serve`, with its process id
keys/     generated secrets
pg/       the embedded database
journal/  one directory for each life of a worker (ledger.places)
sdk/      the same for apps that book through the SDK, many at once and beside a running `serve`: in a directory for
          each database, and here those of apps that know of none
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bursar.domain.errors import ConfigError

SDK_JOURNALS = "sdk"


class DataDirectory:
    """The directory at `path`, made if it is not there."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError: it cannot be made or used."""
        self.path = path
        self._lock_fd = -1
        with self._usable():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (path, path / "keys", path / "journal"):
                directory.mkdir(mode=0o700, exist_ok=True)
                if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))

    @property
    def journals(self) -> Path:
        """Where workers keep their journals."""
        return self.path / "journal"

    def lock(self) -> None:
        """Own the directory until the process ends.

        Raises ConfigError: another process does; the message names it.
        """
        with self._usable():
            self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock_fd, 32).decode("ascii", "replace").strip() or "unknown"
            self.unlock()
            raise ConfigError(
                f"the data directory {self.path} is in use by another bursar (pid {owner}). Stop that one "
                f"(kill {owner}), or start this one with a directory of its own: --data-dir"
            ) from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def unlock(self) -> None:
        """Let go of it: at the end, and in every forked child, which would hold it beyond its parent's life."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def secret(self, name: str) -> str | None:
        """A generated secret that is stored here, or None."""
        with self._usable():
            try:
                return (self.path / "keys" / name).read_text(encoding="utf-8").strip() or None
            except FileNotFoundError:
                return None

    def generate_secret(self, name: str, prefix: str = "") -> str:
        """Make a secret of 256 random bits, stored before it is used."""
        value = prefix + secrets.token_urlsafe(32)
        self.keep_secret(name, value)
        return value

    def keep_secret(self, name: str, value: str) -> None:
        """Store a secret, in place of what it was."""
        target = self.path / "keys" / name
        fresh = target.with_suffix(".new")
        with self._usable():
            fresh.touch(mode=0o600)
            fresh.write_text(value + "\n", encoding="utf-8")
            fresh.rename(target)

    def forget_secret(self, name: str) -> None:
        """It is not stored any more, if it was."""
        with self._usable():
            (self.path / "keys" / name).unlink(missing_ok=True)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """What the file system refuses becomes a ConfigError that names the file and the cure."""
        try:
            yield
        except OSError as error:
            where = error.filename or self.path
            raise ConfigError(
                f"the data directory {self.path} cannot be used: {where}: {error.strerror}. Make it this user's own "
                f"(chown -R), or choose another: --data-dir"
            ) from error
