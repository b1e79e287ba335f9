"""The embedded PostgreSQL server: made at first start, a child of the supervisor, gone with it.

Only the wheel's programs are used. No TCP; one Unix socket in a private directory; SCRAM with a generated password that
only our key directory holds. The caller holds the data directory's lock, so nobody else starts a server on it.
"""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from bursar.domain.errors import StoreError
from bursar.store.binaries import Binaries, find_binaries
from bursar.store.identity import Identity, choose_identity

USER = "bursar"
DATABASE = "bursar"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_SOCKET_PATH_MAX = 90
"""The kernel allows 107 bytes; the socket's own name takes some."""
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # details are values of rows; whoever made the statement gets them
    "jit": "off",
    "password_encryption": "scram-sha-256",
}


class EmbeddedPostgres:
    """One server on one directory. `start`, use `url`, `stop`."""

    def __init__(self, data_dir: Path) -> None:
        self._data = data_dir / "pg"
        self._log = data_dir / "pg.log"
        self._password_file = data_dir / "keys" / "postgres_password"
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets = _socket_directory_name(self._data)

    def url(self, database: str = DATABASE) -> str:
        """Connection URL, with the password: for our own processes and for `bursar db url`.

        Raises StoreError: the password is not there, or not for us to read.
        """
        try:
            password = self._password_file.read_text().strip()
        except FileNotFoundError:
            raise StoreError(f"{self._password_file} is missing; `bursar serve` makes it anew when it starts") from None
        except OSError as error:
            raise StoreError(f"the database's password cannot be read: {error}") from error
        return f"postgresql://{USER}:{quote(password)}@/{database}?host={quote(str(self._sockets), safe='/')}"

    @property
    def running(self) -> bool:
        """Our child is alive."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether somebody listens on the socket: our child, or a server that another process runs."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._sockets / ".s.PGSQL.5432")) == 0

    def start(self, progress: Callable[[str], None]) -> None:
        """Start the server, making its directory first where there is none; returns when it accepts connections.

        Raises StoreError: with what is wrong and what to do.
        """
        version = self._data / "PG_VERSION"
        major = int(version.read_text()) if version.exists() else None
        binaries = self._binaries(major)
        identity = choose_identity(data=self._data, programs=binaries.directory)
        if identity.owner is not None:
            self._data.parent.chmod(0o711)  # the server passes through, and reads nothing in it
        self._make_socket_directory(identity)
        if major is None:
            progress(f"First start: making the database in {self._data} (a few seconds) …")
            self._initialise(binaries, identity)
        self._end_leftover()
        if not self._password_file.exists():
            progress(f"{self._password_file} is missing; giving the database a new password …")
            self._renew_password(binaries, identity)
        log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._log.chmod(0o600)
            settings = {**_SETTINGS, "unix_socket_directories": str(self._sockets)}
            arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            self._process = _launch(
                identity, binaries.program("postgres"), "-D", str(self._data), *arguments, output=log.fileno()
            )
        self._wait_until_ready(log_start)

    def stop(self) -> None:
        """Fast shutdown: connections are ended, everything is written, the process is gone. Safe to repeat."""
        if self._process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue  # it hangs: less gently then; what is committed is kept in any case
        self._process = None
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _binaries(self, major: int | None) -> Binaries:
        try:
            return find_binaries(major)
        except StoreError as error:
            if major is None:
                raise
            raise StoreError(
                f"{self._data} was made by PostgreSQL {major}, which is not on this machine any more. Install it "
                f"again; or move the data: `pg_dump` it with version {major}, rename {self._data}, start bursar once, "
                f"and load the dump with `bursar db shell`."
            ) from error

    def _initialise(self, binaries: Binaries, identity: Identity) -> None:
        """Make the directory under another name first, so that a start that was cut short leaves no half-made one."""
        password = secrets.token_urlsafe(24)
        fresh = self._data.with_name("pg.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if identity.owner is not None:
            os.chown(fresh, *identity.owner)
        self._password_file.parent.mkdir(mode=0o700, exist_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        handed_over = self._sockets / "password"  # where the server's user can read it; our key directory it cannot
        handed_over.touch(mode=0o600)
        handed_over.write_text(password)
        if identity.owner is not None:
            os.chown(handed_over, *identity.owner)
        with tempfile.TemporaryFile() as output:
            process = _launch(
                identity,
                binaries.program("initdb"),
                *("-D", str(fresh), "-U", USER, f"--pwfile={handed_over}", "--auth=scram-sha-256"),
                *("--locale=C.UTF-8", "--encoding=UTF8", "--no-instructions"),
                output=output.fileno(),
            )
            failed = process.wait() != 0
            handed_over.unlink()
            if failed:
                output.seek(0)
                raise StoreError(f"initdb failed in {fresh}:\n{output.read().decode(errors='replace')[-2000:]}")
        fresh.rename(self._data)

    def _renew_password(self, binaries: Binaries, identity: Identity) -> None:
        """Without a server, hence without the old one: whoever owns the files may do this anyway."""
        password = secrets.token_urlsafe(24)  # no character of it needs quoting
        with tempfile.TemporaryFile() as statement, tempfile.TemporaryFile() as output:
            statement.write(f"ALTER ROLE {USER} PASSWORD '{password}'\n".encode())
            statement.seek(0)
            arguments = ("--single", "-D", str(self._data), "-c", "password_encryption=scram-sha-256", "postgres")
            program = binaries.program("postgres")
            process = _launch(identity, program, *arguments, source=statement.fileno(), output=output.fileno())
            failed = process.wait() != 0
            output.seek(0)
            said = output.read().decode(errors="replace")
        if failed or "ERROR:" in said:  # a statement that fails is not the end of a single-user session
            raise StoreError(
                f"{self._password_file} is missing, and no new password can be set. Bring it back from a copy. "
                f"PostgreSQL said:\n{said[-2000:]}"
            )
        fresh = self._password_file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(password)
        fresh.rename(self._password_file)

    def _end_leftover(self) -> None:
        """A server may have outlived its supervisor for a moment, or where the kernel does not tie them together.

        What a dead one left is cleared away: PostgreSQL takes any process with the old number, also one that is dead
        and not waited for yet, for the owner of the files that name it.
        """
        pid_file = self._data / "postmaster.pid"
        pid = int(pid_file.read_text().split("\n", 1)[0] or 0) if pid_file.exists() else 0
        if pid > 0 and self._serves_us(pid):
            os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            while self._serves_us(pid):
                if time.monotonic() > deadline:
                    raise StoreError(f"an earlier database server (pid {pid}) does not end; stop it: kill -QUIT {pid}")
                time.sleep(0.02)
        pid_file.unlink(missing_ok=True)
        for left in self._sockets.glob(".s.PGSQL.*"):
            left.unlink()

    def _serves_us(self, pid: int) -> bool:
        """Whether process `pid` is a server on our directory, rather than a stranger who got an old number."""
        try:
            if Path("/proc/self/cwd").exists():
                return Path(f"/proc/{pid}/cwd").resolve() == self._data.resolve()
            command = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)  # noqa: S603
            return str(self._data) in command.stdout
        except OSError:
            return False

    def _make_socket_directory(self, identity: Identity) -> None:
        try:
            self._sockets.mkdir(mode=0o700)
        except FileExistsError:
            found = self._sockets.lstat()
            owners = {os.geteuid(), identity.owner[0] if identity.owner else os.geteuid()}
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
                raise StoreError(f"{self._sockets} exists and is not ours; remove it") from None
        if identity.owner is not None:
            os.chown(self._sockets, *identity.owner)

    def _wait_until_ready(self, log_start: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        pid_file = self._data / "postmaster.pid"
        while True:
            if self._process.poll() is not None:
                raise StoreError(f"the database server did not start. {self._log} ends:\n{self._log_since(log_start)}")
            try:
                lines = pid_file.read_text().split("\n")
            except FileNotFoundError:
                lines = []
            # The eighth line is the state, as pg_ctl reads it.
            if len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                return
            if time.monotonic() > deadline:
                self.stop()
                raise StoreError(f"the database server was not ready in {_START_TIMEOUT_S:g} s; see {self._log}")
            time.sleep(0.01)

    def _log_since(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")[-2000:]


def _socket_directory_name(data: Path) -> Path:
    """A short, stable name: socket paths are limited to about a hundred bytes, data directories are not."""
    digest = hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"bursar-{digest}"
    return directory if len(str(directory)) <= _SOCKET_PATH_MAX else Path("/tmp") / directory.name  # noqa: S108


def _launch(
    identity: Identity, program: str, *arguments: str, output: int, source: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    launcher = Path(__file__).with_name("launch.py")
    command = [sys.executable, "-I", "-S", str(launcher), str(os.getpid()), identity.launch, program, *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return subprocess.Popen(  # noqa: S603  # no shell, and nothing of it comes from a request
        command,
        stdin=source,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment,
    )
