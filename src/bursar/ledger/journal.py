"""The journal: what this process did, on disk before it matters.

One directory for each life of a process, `<root>/<journal id>/`, held by a lock on its file `lock` for as long as the
process lives; whoever gets that lock later owns the rest of its work (`ledger.adoption`). `append` returns when the
operating system has the record: it survives kill -9 of the process, not a power cut.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId
from bursar.ledger.segment import HEADER_BYTES, check_header, encode_header, frame, payloads_in

SEGMENT_BYTES = 16 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_SUFFIX = ".seg"
_DONE = ".done"
"""Ends the name of a directory in which nothing is left to do."""


def segment_path(directory: Path, number: int) -> Path:
    """Where segment `number` of the journal in `directory` lives."""
    return directory / f"{number:010d}{_SUFFIX}"


def segment_numbers(directory: Path) -> list[int]:
    """The segments that exist, oldest first."""
    return sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def waiting_journals(root: Path) -> list[Path]:
    """Directories of journals that live or wait for an heir, oldest first: the names are time-ordered."""
    return sorted(path for path in root.iterdir() if path.is_dir() and path.suffix != _DONE)


def done_journals(root: Path) -> list[Path]:
    """Directories of journals that are kept though all is posted."""
    return list(root.glob(f"*{_DONE}"))


def put_by(directory: Path) -> None:
    """Nothing is left to do in the journal; whoever says so holds its lock."""
    directory.rename(directory.with_name(directory.name + _DONE))


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

    def release(self) -> None:
        """Give the journal up. Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Journal:
    """The journal this process writes."""

    def __init__(self, root: Path, journal_id: JournalId, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Make the directory `root`/`journal_id` and its first segment.

        Raises JournalError: the disk does not take it.
        """
        self.id = journal_id
        self.directory = root / journal_id
        self.last_sequence = 0
        """Of the record appended last; 0 before the first."""
        self._segment_bytes = segment_bytes
        self._number = 0
        self._fd = -1
        self._size = 0
        try:
            self.directory.mkdir(mode=0o700, parents=True)
            self._lock = JournalLock(self.directory)
        except OSError as error:
            raise JournalError(f"cannot make the journal {self.directory}: {error.strerror}") from error
        self._next_segment()

    def append(self, payload: bytes) -> int:
        """Write one record; its sequence. Raises as `append_all` does."""
        self.append_all([payload])
        return self.last_sequence

    def append_all(self, payloads: Sequence[bytes]) -> None:
        """Write records, all at once. When this returns, kill -9 no longer loses them.

        Raises JournalError, which says how many of them are on record; nothing that depends on the others may happen.
        The segment is sealed, so what a short write left behind is never appended to; the next call tries a new one.
        """
        if self._fd < 0 or self._size >= self._segment_bytes:
            self._next_segment()
        frames = [frame(self._number, sequence, p) for sequence, p in enumerate(payloads, self.last_sequence + 1)]
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        written = 0
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "short write")
        except OSError as error:
            self._seal()
            refusal = JournalError(f"cannot write the journal {self.directory}: {error.strerror}")
            ends = accumulate(map(len, frames))
            refusal.recorded = sum(end <= written for end in ends)
            self.last_sequence += refusal.recorded
            raise refusal from error
        self._size += written
        self.last_sequence += len(payloads)

    def close(self) -> None:
        """No more appends. The directory stays locked until `release`."""
        self._seal()

    def release(self, *, done: bool = False) -> None:
        """Let another process take what is left; `done`: there is nothing left."""
        self._seal()
        if done:
            with suppress(OSError):  # then an heir finds out
                put_by(self.directory)
        self._lock.release()

    def _seal(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next_segment(self) -> None:
        self._seal()
        self._number += 1
        path = segment_path(self.directory, self._number)
        header = encode_header(self.id, self._number, self.last_sequence + 1)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"cannot make the journal segment {path}: {error.strerror}") from error
        try:
            if os.write(fd, header) != len(header):
                raise OSError(errno.ENOSPC, "short write")
        except OSError as error:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise JournalError(f"cannot write the journal segment {path}: {error.strerror}") from error
        self._fd = fd
        self._size = len(header)


class JournalReader:
    """Reads a journal's records in order, from any sequence on: the live one behind its writer, or an orphan."""

    def __init__(self, directory: Path, journal_id: JournalId) -> None:
        self._directory = directory
        self._id = journal_id
        self._number = 0
        self._fd = -1
        self._offset = 0
        self.next_sequence = 1

    def seek(self, sequence: int) -> None:
        """Go to the record `sequence`.

        Raises JournalError: it is older than what is still kept.
        """
        self.close()
        kept = False
        for number in reversed(segment_numbers(self._directory)):
            first = self._first_sequence(number)
            if first is None:
                continue  # its process died while it made the segment: nothing was acknowledged in it
            if first <= sequence:
                self._enter(number)
                self._skip_to(sequence)
                return
            kept = True
        if kept:
            raise JournalError(f"{self._directory}: record {sequence} is no longer kept")
        self.next_sequence = sequence

    def read(self, max_bytes: int = _READ_BYTES) -> list[memoryview]:
        """The payloads of the next records, about `max_bytes` of them; empty at the end of what is written so far."""
        while True:
            if self._fd < 0 and not self._enter_next():
                return []
            data = os.pread(self._fd, max_bytes, self._offset)
            batch = self._parse(data)
            if not batch and len(data) == max_bytes:
                batch = self._read_large(max_bytes)
            if batch or not self._enter_next():
                return batch

    def close(self) -> None:
        """Let go of the open segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def segment(self) -> int:
        """Number of the segment being read; those below it have been read to their end."""
        return self._number

    def _parse(self, data: bytes, *, at_most: int = sys.maxsize) -> list[memoryview]:
        payloads, used = payloads_in(data, number=self._number, sequence=self.next_sequence, at_most=at_most)
        self._offset += used
        self.next_sequence += len(payloads)
        return payloads

    def _read_large(self, tried: int) -> list[memoryview]:
        """A record larger than one read: read on until it is whole, or the file's end shows that it never will be."""
        size = os.fstat(self._fd).st_size - self._offset
        while tried < size:
            tried = min(size, tried * 4)
            if batch := self._parse(os.pread(self._fd, tried, self._offset)):
                return batch
        return []

    def _skip_to(self, sequence: int) -> None:
        """Pass over the segment's records before `sequence`."""
        data = os.pread(self._fd, os.fstat(self._fd).st_size, self._offset)
        self._parse(data, at_most=sequence - self.next_sequence)

    def _enter_next(self) -> bool:
        """Go on to the following segment, if there is one and it carries on where this one ends."""
        following = [n for n in segment_numbers(self._directory) if n > self._number]
        for number in following:
            first = self._first_sequence(number)
            if first is not None and (first == self.next_sequence or self._number == 0):
                self._enter(number)
                return True
        return False

    def _enter(self, number: int) -> None:
        self.close()
        path = segment_path(self._directory, number)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            head = os.pread(self._fd, HEADER_BYTES, 0)
        except OSError as error:
            raise JournalError(f"cannot read the journal segment {path}: {error.strerror}") from error
        self.next_sequence = check_header(head, journal=self._id, number=number, where=str(path))
        self._number = number
        self._offset = HEADER_BYTES

    def _first_sequence(self, number: int) -> int | None:
        """What segment `number` begins with; None while its header is not (completely) written."""
        path = segment_path(self._directory, number)
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        return (
            check_header(head, journal=self._id, number=number, where=str(path)) if len(head) == HEADER_BYTES else None
        )
