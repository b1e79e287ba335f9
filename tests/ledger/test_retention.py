"""What is posted is kept for a while, and no longer."""

import os
import shutil
import time
from pathlib import Path

from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.journal import Journal
from bursar.ledger.places import done_journals, put_by, segment_numbers, segment_path
from bursar.ledger.retention import Retention, remove_old

DAY_S = 86_400.0


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def journal_of_segments(root: Path, number: int, segments: int) -> Journal:
    journal = Journal(root, JournalId(uuid7(1_790_000_000_000 + number, number)), segment_bytes=1)
    for _ in range(segments - 1):  # the first segment is full from the beginning
        journal.append(b"x" * 1000)
    journal.release()
    assert segment_numbers(journal.directory) == list(range(1, segments + 1))
    return journal


def test_segments_are_kept_for_a_time_after_they_were_posted(tmp_path: Path) -> None:
    """However old they were by then: an outage of the database may have been longer."""
    journal = journal_of_segments(tmp_path, 1, 6)
    clock = Clock()
    for number in range(1, 7):
        os.utime(segment_path(journal.directory, number), (0, 0))
    retention = Retention(journal.directory, keep_bytes=1 << 30, keep_s=DAY_S, clock=clock)
    retention.sweep(before=3)
    clock.now_s += DAY_S - 1
    retention.sweep(before=5)
    assert segment_numbers(journal.directory) == [1, 2, 3, 4, 5, 6]
    clock.now_s += 2
    retention.sweep(before=5)
    assert segment_numbers(journal.directory) == [3, 4, 5, 6]
    clock.now_s += DAY_S
    retention.sweep(before=5)
    assert segment_numbers(journal.directory) == [5, 6], "what is not posted is kept whatever happens"


def test_segments_are_kept_up_to_their_bytes(tmp_path: Path) -> None:
    journal = journal_of_segments(tmp_path, 1, 6)
    size = segment_path(journal.directory, 2).stat().st_size
    retention = Retention(journal.directory, keep_bytes=size * 2, keep_s=DAY_S)
    retention.sweep(before=5)
    assert segment_numbers(journal.directory) == [3, 4, 5, 6]
    Retention(journal.directory, keep_bytes=0, keep_s=DAY_S).sweep(before=6)
    assert segment_numbers(journal.directory) == [6]


def test_journals_are_kept_for_a_time_after_they_were_put_by(tmp_path: Path) -> None:
    journals = [journal_of_segments(tmp_path, number, 2) for number in range(3)]
    for journal in journals:
        os.utime(journal.directory, (0, 0))
    old, recent = put_by(journals[0].directory), put_by(journals[1].directory)
    at = time.time() - DAY_S
    os.utime(old, (at - 60, at - 60))
    os.utime(recent, (at + 60, at + 60))
    remove_old(tmp_path, keep_bytes=1 << 30, keep_s=DAY_S)
    assert done_journals(tmp_path) == [recent]
    assert journals[2].directory.is_dir(), "this one waits for an heir"


def test_journals_that_are_put_by_are_kept_up_to_their_bytes(tmp_path: Path) -> None:
    done = [put_by(journal_of_segments(tmp_path, number, 4).directory) for number in range(4)]
    size = sum(path.stat().st_size for path in done[0].glob("*.seg"))
    remove_old(tmp_path, keep_bytes=size * 2, keep_s=DAY_S)
    assert done_journals(tmp_path) == done[2:], "the latest ones"


def test_what_was_never_made_goes_and_what_was_damaged_stays(tmp_path: Path) -> None:
    journal = journal_of_segments(tmp_path, 1, 2)
    now, before = (tmp_path / f".new-{uuid7(number, number)}" for number in (1, 2))
    for path in (now, before, tmp_path / "damaged"):
        shutil.copytree(journal.directory, path)
        os.utime(path, (0, 0))
    os.utime(now)
    remove_old(tmp_path, keep_bytes=0, keep_s=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([now.name, "damaged", journal.id])
