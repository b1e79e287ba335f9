"""The journal: what this process did, on disk before it matters.

One directory for each life of a process, `<root>/<journal id>/`, held by a lock on its file `lock` for as long as the
process lives; whoever gets that lock later owns the rest of its work (`ledger.adoption`). `append_all` returns when the
operating system has the records: they survive kill -9 of the process. To survive a power cut as well they have to be
synced after that (`unsynced`, `ledger.confirmation`).

Before it writes, the journal has the file system keep the room that the records need, and as much more behind them as
its owner asks for: what is set aside cannot be taken by others, and a full disk shows before anything is written.
"""

import errno
import logging
import os
import stat
import time
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import TypeGuard

from bursar.domain.errors import JournalError, JournalFull
from bursar.domain.ids import JournalId
from bursar.ledger.file_system import give_back, mount_point, refuse_network, set_aside, write_in_place
from bursar.ledger.places import JournalLock, put_by, segment_path
from bursar.ledger.segment import FRAME_BYTES, encode_header, frame, seed_of

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
_SET_ASIDE_BYTES = 256 * 1024
"""So much more than needed is set aside at a time, if the disk has it: a system call for a hundred calls."""
_LOOK_S = 0.1
"""How often to make sure that what is written is still where others look for it."""
_OF_THE_MOMENT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Journal:
    """The journal this process writes. A forked process does not: it makes its own."""

    def __init__(
        self, root: Path, journal_id: JournalId, *, segment_bytes: int = SEGMENT_BYTES, synced: bool = False
    ) -> None:
        """Make the directory `root`/`journal_id` and its first segment. `synced`: somebody syncs what is `unsynced`.

        Where the disk is full or read-only at the moment, the first append tries again. Raises ConfigError: `root` is
        on a network file system; JournalError: the journal cannot be made there.
        """
        refuse_network(root)
        self.id = journal_id
        self.directory = root / journal_id
        self.last_sequence = 0
        """Of the record appended last; 0 before the first."""
        self._mount = mount_point(root)
        self._segment_bytes = segment_bytes
        self._synced = synced
        self._lock: JournalLock | None = None
        self._number = 0
        self._seed = 0
        self._fd = -1
        self._path = self.directory
        self._file: os.stat_result | None = None
        self._size = 0
        self._room_end = 0
        """Up to where there is room for the segment."""
        self._unsynced: list[int] = []
        self._look_at_s = 0.0
        self._forked = False
        self._told_soft = False
        _alive.add(self)
        try:
            self._next_segment(0)
        except JournalError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _OF_THE_MOMENT:
                raise
            log.critical("journal.not_made reason=%s", error)

    def append(self, payload: bytes) -> int:
        """Write one record; its sequence. Raises as `append_all` does."""
        self._make_room(len(payload) + FRAME_BYTES)
        self._write([frame(self._seed, self.last_sequence + 1, payload)])
        return self.last_sequence

    def append_all(self, payloads: Sequence[bytes], *, room: int = 0) -> None:
        """Write records, all at once, and have room for `room` bytes more behind them. When this returns, kill -9 no
        longer loses them.

        Raises JournalFull: there is no such room, and nothing was written; JournalError: it says how many of them are
        on record, and nothing that depends on the others may happen. In the latter case the segment is sealed, so that
        what a short write left behind is never appended to; the next call tries a new one.
        """
        self._make_room(sum(map(len, payloads)) + FRAME_BYTES * len(payloads) + room)
        self._write([frame(self._seed, sequence, p) for sequence, p in enumerate(payloads, self.last_sequence + 1)])

    def _write(self, frames: Sequence[bytes]) -> None:
        data, count = frames[0] if len(frames) == 1 else b"".join(frames), len(frames)
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "short write")
        except BaseException as error:
            # How far it came says the file: what a signal handler raises may come before or after it was written.
            written = os.lseek(self._fd, 0, os.SEEK_CUR) - self._size
            recorded = sum(end <= written for end in accumulate(map(len, frames)))
            self._size += written
            self.last_sequence += recorded
            if _of_the_system(error):
                self.seal()
                refusal = JournalError(f"cannot write the journal {self.directory}: {error.strerror}")
                refusal.recorded = recorded
                raise refusal from error
            if written not in (0, len(data)):
                self.seal()
            raise
        self._size += written
        self.last_sequence += count

    def unsynced(self) -> list[int]:
        """Descriptors of the files and directories changed since this was called last, for `sync`: they are the
        caller's, and the segment that is written is always among them."""
        found, self._unsynced = self._unsynced, []
        if self._fd >= 0:
            found.append(os.dup(self._fd))
        return found

    def seal(self) -> None:
        """Write no more into this segment: the next append begins a new one."""
        if self._fd >= 0:
            give_back(self._fd)
            if self._synced:
                self._unsynced.append(self._fd)
            else:
                os.close(self._fd)
            self._fd = -1

    def release(self, *, done: bool = False) -> None:
        """Write no more, and let another process take what is left; `done`: there is nothing left."""
        self.seal()
        with suppress(OSError):
            sync(self.unsynced())
        if done and not self._forked:
            with suppress(OSError):  # then an heir finds out
                put_by(self.directory)
        if self._lock is not None:
            self._lock.release()

    def leave_to_parent(self) -> None:
        """In a process that was forked from the owner: let go of everything, and refuse to write."""
        self._forked = True
        for fd in (self._fd, *self._unsynced):
            if fd >= 0:
                os.close(fd)
        self._fd, self._unsynced = -1, []
        if self._lock is not None:
            self._lock.release()

    def _make_room(self, needed: int) -> None:
        if self._fd >= 0 and (now := time.monotonic()) >= self._look_at_s:
            self._look_at_s = now + _LOOK_S
            if not self._is_there():
                log.critical("journal.gone segment=%s", self._path)
                self.seal()
        if self._fd < 0:
            self._next_segment(needed)
        elif self._size >= self._segment_bytes:
            try:
                self._next_segment(needed)
            except JournalFull:
                self._extend(needed)  # the room for what is under way is here
        elif self._size + needed > self._room_end:
            self._extend(needed)

    def _is_there(self) -> bool:
        """Whether the segment's path leads to the segment. It does not when somebody has deleted it, or the file
        system is no longer mounted."""
        assert self._file is not None
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except OSError:
            return False

    def _extend(self, needed: int) -> None:
        if self._size + needed <= self._room_end:
            return
        try:
            self._room_end = self._set_aside(self._fd, self._size, needed)
        except OSError as error:
            if not _of_the_system(error):
                raise
            raise JournalFull(f"no room in the journal {self.directory}: {error.strerror}") from error

    def _next_segment(self, needed: int) -> None:
        """Begin a segment with room for `needed` bytes. The present one is sealed once the new one is there."""
        if self._forked:
            raise JournalError(f"the journal {self.directory} belongs to the process this one was forked from")
        self._number += 1
        path = segment_path(self.directory, self._number)
        header = encode_header(self.id, self._number, self.last_sequence + 1)
        fd = -1
        try:
            self._hold_directory()
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            write_in_place(fd)
            room_end = self._set_aside(fd, 0, len(header) + needed)
            if os.write(fd, header) != len(header):
                raise OSError(errno.ENOSPC, "short write")
            file = os.fstat(fd)
            if self._synced:
                self._changed(self.directory)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
                with suppress(OSError):
                    path.unlink()
            if not _of_the_system(error):
                raise
            raise JournalFull(f"cannot make the journal segment {path}: {error.strerror}") from error
        self.seal()
        self._seed = seed_of(self.id, self._number)
        self._fd, self._path, self._file = fd, path, file
        self._size, self._room_end = len(header), room_end
        self._look_at_s = time.monotonic() + _LOOK_S

    def _hold_directory(self) -> None:
        """Make sure of the directory and its lock: made the first time, and again after somebody has deleted it.

        Raises OSError, also when the file system is not mounted: what lies under it is another disk.
        """
        if self._lock is not None and self._lock.holds(self.directory):
            return
        if not self._mount.is_mount():
            raise OSError(errno.ENOENT, f"nothing is mounted at {self._mount}")
        made = not self.directory.is_dir()
        lock = JournalLock.on_new(self.directory) if made else JournalLock(self.directory)
        if self._lock is not None:
            self._lock.release()
        self._lock = lock
        if self._synced:
            self._changed(self.directory.parent)

    def _changed(self, directory: Path) -> None:
        self._unsynced.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def _set_aside(self, fd: int, offset: int, needed: int) -> int:
        """Up to where there is room now: rather more than needed, if the disk has it. Raises OSError."""
        size = needed + _SET_ASIDE_BYTES
        try:
            kept = set_aside(fd, offset, size)
        except OSError as error:
            if error.errno not in _OF_THE_MOMENT:
                raise
            size = needed
            kept = set_aside(fd, offset, size)
        if not kept and not self._told_soft:
            self._told_soft = True
            log.warning("journal.cannot_set_aside directory=%s", self.directory)
        return offset + size


def _of_the_system(error: BaseException) -> TypeGuard[OSError]:
    """Not what a signal handler raised: an app's time limits may be OSErrors as well, without a number."""
    return isinstance(error, OSError) and error.errno is not None


def sync(descriptors: Iterable[int]) -> None:
    """Have everything in these files and directories survive a power cut, and close them. Blocks. Raises OSError."""
    failure: OSError | None = None
    for fd in descriptors:
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.fsync(fd)
            else:
                _sync_file(fd)
        except OSError as error:
            failure = error
        finally:
            os.close(fd)
    if failure is not None:
        raise failure


_sync_file = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter

_alive: "weakref.WeakSet[Journal]" = weakref.WeakSet()
"""The one thing here that belongs to the module: a hook that runs at each fork cannot be taken back, so that there is
one for all journals."""


def _leave_all_to_parent() -> None:
    for journal in list(_alive):
        journal.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
