"""The journal keeps what it acknowledged, whatever happens to the disk, the directory or the process."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from bursar.domain.errors import JournalError, JournalFull
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger import journal as journal_module
from bursar.ledger.journal import Journal, sync
from bursar.ledger.places import JournalLock, done_journals, segment_numbers, segment_path, waiting_journals
from bursar.ledger.reader import JournalReader
from bursar.ledger.segment import FRAME_BYTES, HEADER_BYTES
from tests.ledger.journals import ID, fill, mounted, numbered, read_all


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can become larger: a disk that refuses, for everybody to have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def append_until_it_works(journal: Journal, payload: bytes, *, at_most_s: float = 10.0) -> int:
    """The journal looks only now and then whether its place is still there."""
    deadline = time.monotonic() + at_most_s
    while True:
        try:
            return journal.append(payload)
        except JournalError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def append_until_it_fails(journal: Journal, *, at_most_s: float = 10.0) -> JournalError:
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline:
        try:
            journal.append(b"while it is still there")
        except JournalError as error:
            return error
        time.sleep(0.01)
    raise AssertionError("it went on")


def append_until_refused(journal: Journal, payload: bytes) -> None:
    while True:
        journal.append(payload)


# Reading what was written


def test_what_was_appended_is_read_in_order_across_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID, segment_bytes=100)
    payloads = [b"x" * size for size in (1, 50, 0, 300, 7, 1000, 20)]
    assert [journal.append(p) for p in payloads] == list(range(1, 8))
    assert len(segment_numbers(journal.directory)) > 3
    assert read_all(journal.directory) == payloads
    for start in range(1, 9):
        assert read_all(journal.directory, sequence=start) == payloads[start - 1 :]
    journal.release()


def test_a_reader_follows_its_writer(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID, segment_bytes=100)
    reader = JournalReader(journal.directory, ID)
    assert reader.read() == []
    for i in range(1, 50):
        journal.append(b"%d" % i)
        assert reader.read() == [b"%d" % i]
    assert reader.read() == []
    reader.close()
    journal.release()


# Room


def test_files_are_as_long_as_what_was_written(tmp_path: Path) -> None:
    """What is set aside is no part of them: readers see nothing of it, and it is given back."""
    journal = Journal(tmp_path, ID)
    journal.append_all([b"x" * 100], room=1_000_000)
    path = segment_path(journal.directory, 1)
    assert path.stat().st_size == HEADER_BYTES + FRAME_BYTES + 100
    assert path.stat().st_blocks * 512 >= 1_000_000
    journal.release()
    assert path.stat().st_size == HEADER_BYTES + FRAME_BYTES + 100
    assert path.stat().st_blocks * 512 < 100_000


def test_room_that_was_set_aside_is_there_when_the_disk_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "size=2m") as disk:
        journal = Journal(disk, ID, segment_bytes=50_000)
        journal.append_all([b"promise"], room=1_000_000)
        filler = fill(disk)
        written = 0
        while (written + 1) * 5000 <= 1_000_000:  # over the size of a segment: there is no room for another
            journal.append_all([b"e" * (5000 - FRAME_BYTES)], room=1_000_000 - (written + 1) * 5000)
            written += 1
        with pytest.raises(JournalFull, match="No space left"):
            append_until_refused(journal, b"e" * 5000)  # a little more may fit
        assert segment_numbers(journal.directory) == [1]
        assert len(read_all(journal.directory)) == journal.last_sequence > written
        filler.unlink()
        journal.append(b"after")
        assert len(segment_numbers(journal.directory)) == 2
        assert read_all(journal.directory)[-1] == b"after"
        journal.release()


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "size=1m") as disk:
        journal = Journal(disk, ID)
        journal.append(b"small")
        size = segment_path(journal.directory, 1).stat().st_size
        for _ in range(3):
            with pytest.raises(JournalFull):
                journal.append_all([b"promise"], room=2_000_000)
        assert segment_path(journal.directory, 1).stat().st_size == size, "the segment is as good as it was"
        journal.append_all([b"promise"], room=100_000)
        assert segment_numbers(journal.directory) == [1]
        journal.release()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_disk_that_is_full_at_the_start_is_tried_again(tmp_path: Path, read_only: bool) -> None:
    with mounted(tmp_path / "disk", "-o", "size=64k") as disk:
        filler = fill(disk)
        if read_only:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        journal = Journal(disk, ID)
        with pytest.raises(JournalFull, match="Read-only" if read_only else "No space left"):
            journal.append(b"too early")
        if read_only:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        filler.unlink()
        assert journal.append(b"now") == 1
        assert read_all(journal.directory) == [b"now"]
        journal.release()


def test_a_short_write_seals_the_segment_and_the_next_append_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    journal.append(b"one")
    limit = os.path.getsize(segment_path(journal.directory, 1)) + 5
    with largest_file(limit), pytest.raises(JournalError, match="cannot write the journal"):
        journal.append(b"two, which does not fit")
    assert os.path.getsize(segment_path(journal.directory, 1)) == limit  # the torn bytes are there
    assert journal.append(b"two again") == 2
    assert read_all(journal.directory) == [b"one", b"two again"]
    journal.release()


def test_of_what_is_cut_short_the_whole_records_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    journal.append(b"one")
    limit = os.path.getsize(segment_path(journal.directory, 1)) + 2 * (FRAME_BYTES + 10) + 5
    with largest_file(limit), pytest.raises(JournalError) as refused:
        journal.append_all([b"x" * 10] * 4)
    assert refused.value.recorded == 2
    assert journal.append(b"next") == 4
    assert read_all(journal.directory) == [b"one", b"x" * 10, b"x" * 10, b"next"]
    journal.release()


class TimeIsUp(TimeoutError):
    """What an app's signal handler raises: an OSError, but none of the disk's."""


@pytest.mark.parametrize("error", [TimeIsUp, KeyboardInterrupt])
def test_a_signal_handler_may_raise_at_any_moment(tmp_path: Path, error: type[BaseException]) -> None:
    """Before a record is written or just behind it: what counts is what the file says."""

    def handle(_signal: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename == journal_module.__file__:
            raise error

    journal = Journal(tmp_path, ID)
    previous = signal.signal(signal.SIGALRM, handle)
    raised = 0
    try:
        for delay in range(1, 2000):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay * 5e-8)
                for _ in range(20):
                    journal.append(b"x" * 100)
            except error:
                raised += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert raised > 100
    last = journal.last_sequence
    journal.append(b"the end")
    records = read_all(journal.directory)
    assert (len(records), records[-1]) == (last + 1, b"the end"), "none is missing, none is there twice"
    journal.release()


def test_where_room_cannot_be_set_aside_it_is_at_least_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bursar.ledger.file_system._fallocate", lambda *_: _refuse(errno.EOPNOTSUPP))
    journal = Journal(tmp_path, ID)
    journal.append(b"one")
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["journal.cannot_set_aside"]
    free = os.statvfs(tmp_path)
    with pytest.raises(JournalFull):
        journal.append_all([b"two"], room=free.f_bavail * free.f_frsize + (1 << 30))
    assert journal.append(b"two") == 2
    journal.release()


def _refuse(number: int) -> int:
    import ctypes

    ctypes.set_errno(number)
    return -1


# Its place


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    assert JournalLock.attempt(journal.directory) is None
    journal.release()
    lock = JournalLock.attempt(journal.directory)
    assert lock is not None
    lock.release()


def test_a_journal_with_nothing_left_to_do_waits_for_nobody(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    assert waiting_journals(tmp_path) == [journal.directory]
    journal.release(done=True)
    assert waiting_journals(tmp_path) == []
    [kept] = done_journals(tmp_path)
    assert read_all(kept) == []


def test_a_journal_is_seen_only_when_it_is_locked(tmp_path: Path) -> None:
    """Else whoever looks for orphans at that moment would take it."""
    journal = Journal(tmp_path / "root", ID)
    shutil.copytree(journal.directory, tmp_path / "root" / f".new-{ID}")
    (tmp_path / "root" / "lost+found").mkdir()
    (tmp_path / "root" / "damaged").mkdir()
    assert waiting_journals(tmp_path / "root") == [journal.directory]
    assert done_journals(tmp_path / "root") == []
    journal.release()


@pytest.mark.parametrize("what", ["segment", "directory", "root"])
def test_what_is_deleted_is_made_anew(tmp_path: Path, what: str) -> None:
    root = tmp_path / "root"
    journal = Journal(root, ID)
    reader = JournalReader(journal.directory, ID)
    journal.append(b"one")
    assert reader.read() == [b"one"]
    if what == "segment":
        segment_path(journal.directory, 1).unlink()
    else:
        shutil.rmtree(journal.directory if what == "directory" else root)
    deadline = time.monotonic() + 10
    while not segment_path(journal.directory, 2).exists():
        journal.append(b"more")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # A reader that has the deleted file open misses nothing; others are told how much is gone.
    found = [b"one"]
    while batch := reader.read():
        found += [payload.tobytes() for payload in batch]
    assert found == [b"one", *[b"more"] * (journal.last_sequence - 1)]
    [(sequence, payload)] = numbered(journal.directory)
    assert (sequence, payload) == (journal.last_sequence, b"more")
    assert JournalLock.attempt(journal.directory) is None, "it is ours, also after it was made anew"
    reader.close()
    journal.release()
    lock = JournalLock.attempt(journal.directory)
    assert lock is not None
    lock.release()


def test_a_directory_that_is_moved_away_and_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    journal = Journal(root, ID)
    journal.append(b"one")
    root.rename(tmp_path / "elsewhere")
    root.touch()  # nothing can be made there
    assert isinstance(append_until_it_fails(journal), JournalFull)
    root.unlink()
    (tmp_path / "elsewhere").rename(root)
    append_until_it_works(journal, b"back")
    found = read_all(journal.directory)
    assert (found[0], found[-1]) == (b"one", b"back")
    assert len(found) == journal.last_sequence
    assert JournalLock.attempt(journal.directory) is None
    journal.release()


def test_where_nothing_is_mounted_any_more_nothing_is_written(tmp_path: Path) -> None:
    """Beneath a mount point lies another disk, which will not be seen when the right one is back."""
    with mounted(tmp_path / "disk", "-o", "size=4m") as disk:
        journal = Journal(disk / "journal", ID)
        journal.append(b"one")
        subprocess.run(["umount", "-l", disk], check=True)
        assert "nothing is mounted" in str(append_until_it_fails(journal))
        assert list(disk.iterdir()) == []
        with mounted(disk, "-o", "size=4m"):
            last = append_until_it_works(journal, b"on the new one")
            assert numbered(journal.directory) == [(last, b"on the new one")]
            journal.release()


def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "size=4m") as disk:
        journal = Journal(disk, ID, segment_bytes=1000)
        journal.append(b"one")
        journal.seal()
        subprocess.run(["mount", "--bind", disk, disk], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        for _ in range(3):
            with pytest.raises(JournalFull, match="Read-only"):
                journal.append(b"refused")
        subprocess.run(["umount", disk], check=True)
        assert journal.append(b"two") == 2
        assert read_all(journal.directory) == [b"one", b"two"]
        journal.release()


def test_a_directory_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory(prefix="bursar-test-") as place, ordinary_user(Path(place)):
        journal = Journal(Path(place), ID)
        journal.seal()
        journal.directory.chmod(0o500)
        with pytest.raises(JournalFull, match="Permission denied"):
            journal.append(b"refused")
        journal.directory.chmod(0o700)
        assert journal.append(b"one") == 1
        journal.release()


@contextmanager
def ordinary_user(place: Path) -> Iterator[None]:
    """Root may write whatever the mode says: be somebody else meanwhile, whose `place` is."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    os.chown(place, nobody, nobody)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


# Processes


def run(program: str, *arguments: object) -> bytes:
    """What a Python program prints that forks and has no threads, as ours may have."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout


MAKING = """
import os, sys, time
from pathlib import Path
from bursar.domain.ids import uuid7
from bursar.ledger.journal import Journal
made = [Journal(Path(sys.argv[1]), uuid7(1_790_000_000_000, number)) for number in range(400)]
os.write(1, b"made")
sys.stdin.read()
"""


def test_nobody_gets_the_lock_of_a_journal_that_is_being_made(tmp_path: Path) -> None:
    """Who looks for orphans does so at any moment."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", MAKING, tmp_path], stdin=pipe, stdout=pipe) as maker:
        assert maker.stdout is not None
        tried = 0
        while len(journals := waiting_journals(tmp_path)) < 400:
            assert maker.poll() is None
            for directory in journals[-3:]:
                assert JournalLock.attempt(directory) is None
                tried += 1
        assert maker.stdout.read(4) == b"made"
        assert tried > 100
        maker.communicate()
    assert maker.returncode == 0


FORKING = """
    import os, sys
    from pathlib import Path
    from bursar.domain.errors import JournalError
    from bursar.ledger.journal import Journal
    root, id, id_of_child = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    journal = Journal(root, id, synced=True)
    journal.append(b"one")
    if (child := os.fork()) == 0:
        try:
            journal.append(b"from the child")
        except JournalError as error:
            print(error)
        own = Journal(root, id_of_child)
        own.append(b"its own")
        journal.seal()
        journal.release(done=True)
        own.release()
    else:
        os.waitpid(child, 0)
        journal.append(b"two")
        journal.release()
"""


def test_a_forked_process_leaves_the_journal_to_its_parent(tmp_path: Path) -> None:
    own = JournalId(uuid7(1_790_000_000_001, 1))
    assert b"belongs to the process this one was forked from" in run(FORKING, tmp_path, ID, own)
    assert read_all(tmp_path / ID) == [b"one", b"two"]
    assert read_all(tmp_path / own) == [b"its own"]


ORPHANING = """
    import os, signal, sys
    from pathlib import Path
    from bursar.ledger.journal import Journal
    journal = Journal(Path(sys.argv[1]), sys.argv[2])
    journal.append(b"one")
    if os.fork() == 0:
        os.write(1, b"%d" % os.getpid())
        os.close(1)
        signal.pause()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_process_does_not_hold_the_lock_beyond_its_parents_life(tmp_path: Path) -> None:
    child = int(run(ORPHANING, tmp_path, ID))
    try:
        os.kill(child, 0)  # it lives
        lock = JournalLock.attempt(tmp_path / ID)
        assert lock is not None
        lock.release()
    finally:
        os.kill(child, signal.SIGKILL)


_WRITER = """
import os, sys
from pathlib import Path
from bursar.ledger.journal import Journal
journal = Journal(Path(sys.argv[1]), sys.argv[2], segment_bytes=200_000)
number = 0
while True:
    group = [b"%d:" % (number + i) + b"x" * ((number + i) * 37 % 5000) for i in range(1 + number % 40)]
    journal.append_all(group, room=100_000)
    number += len(group)
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("after", [1, 500, 3000])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, after: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path, ID], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acknowledged = 0
    while acknowledged < after:
        acknowledged = int(writer.stdout.readline())
    writer.kill()
    rest = writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged
    found = read_all(tmp_path / ID)
    assert len(found) >= acknowledged
    assert found == [b"%d:" % n + b"x" * (n * 37 % 5000) for n in range(len(found))]
    assert not (tmp_path / "damaged").exists()


# Power cuts


def test_what_is_to_be_synced(tmp_path: Path) -> None:
    """Each file that was written to, those that are full included, and the directories in which something is new."""

    def names(journal: Journal) -> list[str]:
        descriptors = journal.unsynced()
        found = [os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) for fd in descriptors]
        sync(descriptors)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptors[0])
        return sorted(found)

    journal = Journal(tmp_path / "root", ID, segment_bytes=200, synced=True)
    assert names(journal) == ["0000000001.seg", str(ID), "root"]
    journal.append(b"x" * 100)
    assert names(journal) == ["0000000001.seg"]
    for _ in range(4):
        journal.append(b"x" * 100)
    assert names(journal) == ["0000000001.seg", "0000000002.seg", "0000000003.seg", str(ID), str(ID)]
    journal.seal()
    journal.release()
    assert journal.unsynced() == []
