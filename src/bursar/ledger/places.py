"""Where journals live.

<root>/<journal id>/            a journal that is written, or waits for an heir: its lock, its segments, and `books`:
                                which ones it belongs to, once it has been posted to some
<root>/<journal id>.done/       one of which everything is posted, kept for a while
<root>/.new-<journal id>/       one that is being made
<root>/damaged/                 segments in which something could not be read, kept until a person deletes them
"""

import fcntl
import os
import shutil
from pathlib import Path
from uuid import UUID

from bursar.domain.ids import JournalId

_SUFFIX = ".seg"
_DONE = ".done"
_NEW = ".new-"
_DAMAGED = "damaged"
_BOOKS = "books"


def segment_path(directory: Path, number: int) -> Path:
    """Where segment `number` of the journal in `directory` lives."""
    return directory / f"{number:010d}{_SUFFIX}"


def segment_numbers(directory: Path) -> list[int]:
    """The segments that exist, oldest first."""
    return sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def waiting_journals(root: Path) -> list[Path]:
    """Directories of journals that live or wait for an heir, oldest first: the names are time-ordered."""
    return _journals(root, "")


def done_journals(root: Path) -> list[Path]:
    """Directories of journals that are kept though all is posted, oldest first."""
    return _journals(root, _DONE)


def half_made_journals(root: Path) -> list[Path]:
    """Directories of journals that were being made when their process died, or are being made now."""
    return [path for path in root.glob(f"{_NEW}*") if path.is_dir()]


def journal_of(directory: Path) -> JournalId:
    """Whose directory it is, put by or not."""
    return JournalId(directory.name.removesuffix(_DONE))


def put_by(directory: Path) -> Path:
    """Nothing is left to do in the journal; whoever says so holds its lock. Its time of keeping begins."""
    os.utime(directory)
    return directory.rename(directory.with_name(directory.name + _DONE))


def take_up(directory: Path) -> Path:
    """The opposite of `put_by`: there is something to do after all."""
    return directory.rename(directory.with_name(journal_of(directory)))


def books_of(directory: Path) -> str:
    """Which books a journal belongs to; "" while it has been posted to none."""
    try:
        return (directory / _BOOKS).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def assign(directory: Path, books: str) -> None:
    """The journal is posted to these books from now on. Raises OSError."""
    new = directory / f"{_BOOKS}.new"
    new.write_text(books, encoding="ascii")
    new.rename(directory / _BOOKS)


def keep_damaged(segment: Path, offset: int) -> Path | None:
    """Keep a segment that cannot be read at `offset`, whatever becomes of its journal; where it is kept.

    None: it is kept already, hence known. Raises OSError.
    """
    journal = journal_of(segment.parent)
    kept = segment.parent.parent / _DAMAGED / f"{journal}-{int(segment.stem)}-at-{offset}{_SUFFIX}"
    if kept.exists():
        return None
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        kept.hardlink_to(segment)
    except OSError:  # some file systems have no links
        shutil.copy2(segment, kept)
    return kept


class JournalLock:
    """Ownership of one journal directory. Ends with `release` or with the process, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise

    @classmethod
    def attempt(cls, directory: Path) -> "JournalLock | None":
        """The lock, or None while another process lives on this journal."""
        try:
            return cls(directory)
        except BlockingIOError:
            return None

    @classmethod
    def on_new(cls, directory: Path) -> "JournalLock":
        """Make `directory`, locked from the moment it is seen by others."""
        new = directory.with_name(_NEW + directory.name)
        new.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = cls(new)
        try:
            new.rename(directory)
        except OSError:
            lock.release()
            raise
        return lock

    def holds(self, directory: Path) -> bool:
        """Whether it is the lock that others find in `directory`."""
        try:
            return os.path.samestat(os.fstat(self._fd), (directory / "lock").stat())
        except OSError:
            return False

    def release(self) -> None:
        """Give the journal up. Safe to repeat. In a forked process, which has a share in it: give up that share."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _journals(root: Path, suffix: str) -> list[Path]:
    found = []
    for path in root.iterdir() if root.is_dir() else ():
        if path.suffix == suffix and path.is_dir():
            try:
                UUID(journal_of(path))
            except ValueError:
                continue
            found.append(path)
    return sorted(found)
