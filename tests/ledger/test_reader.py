"""Reading a journal that something has happened to: nothing good is lost, nothing bad is passed over in silence."""

import logging
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.domain.errors import JournalError
from bursar.ledger.journal import Journal
from bursar.ledger.places import segment_numbers, segment_path
from bursar.ledger.reader import JournalReader, last_sequence
from bursar.ledger.segment import FRAME_BYTES, HEADER_BYTES
from tests.ledger.journals import ID, numbered, of_format, read_all

PAYLOADS = [b"%d:" % number + b"x" * size for number, size in enumerate((3, 90, 0, 41, 7, 300, 20, 64, 5, 11))]


def written(root: Path, *, segment_bytes: int = 1 << 24) -> Path:
    """A journal of `PAYLOADS`, left behind by its process."""
    journal = Journal(root, ID, segment_bytes=segment_bytes)
    for payload in PAYLOADS:
        journal.append(payload)
    journal.release()
    return journal.directory


def ends() -> list[int]:
    """Where each record ends, in a single segment."""
    return [HEADER_BYTES + sum(FRAME_BYTES + len(p) for p in PAYLOADS[: n + 1]) for n in range(len(PAYLOADS))]


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(event)]


def kept(root: Path) -> list[str]:
    return sorted(path.name.removeprefix(f"{ID}-") for path in root.glob("damaged/*"))


@given(cut=st.integers(0, 1000), zeros=st.integers(0, 300))
@settings(max_examples=150)
def test_any_truncation_leaves_the_records_before_it(cut: int, zeros: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = written(Path(place))
        path = segment_path(directory, 1)
        content = path.read_bytes()
        path.write_bytes(content[:cut] + bytes(zeros))
        whole = PAYLOADS[: sum(end <= cut for end in ends())]
        assert read_all(directory) == whole
        assert last_sequence(directory) == len(whole)
        assert not (Path(place) / "damaged").exists(), "a torn tail is nothing to tell"


@given(
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    segment_bytes=st.sampled_from([1 << 24, 250]),
    read_on=st.booleans(),
)
@settings(max_examples=400)
def test_any_changed_byte_is_noticed_and_costs_its_record(
    where: float, flip: int, segment_bytes: int, read_on: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = written(Path(place), segment_bytes=segment_bytes)
        paths = [segment_path(directory, number) for number in segment_numbers(directory)]
        contents = [path.read_bytes() for path in paths]
        position = int(where * sum(map(len, contents)))
        for path, content in zip(paths, contents, strict=True):
            if position < len(content):
                changed = bytearray(content)
                changed[position] ^= flip
                path.write_bytes(bytes(changed))
                break
            position -= len(content)
        reader = JournalReader(directory, ID)
        reader.seek(1)
        found: list[tuple[int, bytes]] = []
        while batch := reader.read(256):
            if read_on:
                batch += reader.read_on(256)
            first = reader.next_sequence - len(batch)
            found += [(first + place, payload.tobytes()) for place, payload in enumerate(batch)]
        everything = list(enumerate(PAYLOADS, start=1))
        assert set(found) <= set(everything)
        assert found == sorted(found)
        lost = set(everything) - set(found)
        assert len(lost) <= 1
        if lost == {everything[-1]} and not reader.missing:
            assert reader.left_over >= FRAME_BYTES  # the last one of all: it might as well be torn
        else:
            assert reader.missing == len(lost)
            assert len(kept(Path(place))) == 1
        reader.close()


def test_damage_is_told_once_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path)
    path = segment_path(directory, 1)
    content = bytearray(path.read_bytes())
    first, last = ends()[2], ends()[4]  # where the fourth record begins, and the fifth ends
    content[first : last - 1] = b"?" * (last - 1 - first)
    path.write_bytes(bytes(content))
    for _ in range(2):  # as after each interruption, or by each who looks
        assert [sequence for sequence, _ in numbered(directory)] == [1, 2, 3, 6, 7, 8, 9, 10]
        assert [sequence for sequence, _ in numbered(directory, sequence=5)] == [6, 7, 8, 9, 10]
        assert [sequence for sequence, _ in numbered(directory, sequence=8)] == [8, 9, 10]
    [line] = told(caplog, "journal.damaged")
    assert f"file={path} offset={first} bytes={last - first} missing=2" in line
    assert kept(tmp_path) == [f"1-at-{first}.seg"]
    shutil.rmtree(directory)
    [aside] = (tmp_path / "damaged").iterdir()
    assert aside.read_bytes() == content


def test_one_reader_counts_what_is_missing_once(tmp_path: Path) -> None:
    directory = written(tmp_path)
    path = segment_path(directory, 1)
    path.write_bytes(path.read_bytes().replace(b"5:xxx", b"5:yyy"))
    reader = JournalReader(directory, ID)
    for _ in range(3):
        reader.seek(1)
        while reader.read(64):
            pass
    assert reader.missing == 1
    reader.close()


def test_a_batch_goes_on_in_the_next_segment_and_no_further(tmp_path: Path) -> None:
    directory = written(tmp_path, segment_bytes=250)
    assert segment_numbers(directory) == [1, 2, 3]
    reader = JournalReader(directory, ID)
    assert reader.read_on(10_000) == []
    reader.seek(1)
    first = reader.read(10_000)
    more = reader.read_on(10_000)
    assert [record.tobytes() for record in first + more] == PAYLOADS[: len(first) + len(more)]
    assert more
    assert reader.segment == 2
    reader.close()


def test_a_segment_without_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a disk may return it after a power cut: the next segment tells that something is missing, and how much."""
    directory = written(tmp_path, segment_bytes=250)
    path = segment_path(directory, 1)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    found = numbered(directory)
    lost = set(range(1, 11)) - {sequence for sequence, _ in found}
    assert len(lost) == 1
    assert len(told(caplog, "journal.damaged")) == 1
    path.write_bytes(content[: HEADER_BYTES + FRAME_BYTES + len(PAYLOADS[0])])  # not even a beginning of the others
    first_of_second = min(sequence for sequence, _ in numbered(directory) if sequence > 1)
    assert f"after=1 missing={first_of_second - 2}" in told(caplog, "journal.gap")[0]


def test_a_segment_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path, segment_bytes=1)
    segment_path(directory, 5).unlink()  # the first one is full before it has a record
    segment_path(directory, 6).unlink()
    assert [sequence for sequence, _ in numbered(directory)] == [1, 2, 3, 6, 7, 8, 9, 10]
    [line] = told(caplog, "journal.gap")
    assert line.endswith("after=4 missing=2")


def test_what_is_no_longer_kept_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path, segment_bytes=1)
    for number in (1, 2, 3, 4):
        segment_path(directory, number).unlink()
    reader = JournalReader(directory, ID)
    reader.seek(2)
    assert reader.next_sequence == 4
    assert reader.read() == [PAYLOADS[3]]
    reader.close()
    assert last_sequence(directory) == 10
    assert caplog.records == []


def test_a_header_that_is_damaged_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path, segment_bytes=250)
    for number in segment_numbers(directory):
        path = segment_path(directory, number)
        path.write_bytes(b"XXXX" + path.read_bytes()[4:])
    for start in range(1, 11):
        assert read_all(directory, sequence=start) == PAYLOADS[start - 1 :]
    assert len(told(caplog, "journal.damaged")) == len(segment_numbers(directory))


def test_a_foreign_file_among_the_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path, segment_bytes=250)
    last = segment_numbers(directory)[-1]
    shutil.copy(segment_path(directory, 1), segment_path(directory, last + 1))  # a good one, in the wrong place
    segment_path(directory, last + 2).write_bytes(bytes(100_000))
    segment_path(directory, last + 3).write_bytes(b"")
    assert read_all(directory) == PAYLOADS
    assert last_sequence(directory) == len(PAYLOADS)
    [line] = told(caplog, "journal.damaged")
    assert f"{last + 1:010d}.seg offset=0" in line


def test_zeros_in_the_middle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pages that did not reach the disk before a power cut, though later ones did."""
    directory = written(tmp_path)
    path = segment_path(directory, 1)
    content = bytearray(path.read_bytes())
    content[ends()[1] : ends()[5] - 30] = bytes(ends()[5] - 30 - ends()[1])
    path.write_bytes(bytes(content))
    assert [sequence for sequence, _ in numbered(directory)] == [1, 2, 7, 8, 9, 10]
    assert "missing=4" in told(caplog, "journal.damaged")[0]


def test_a_record_larger_than_a_read_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, ID)
    payloads = [b"a" * 5000, b"b", b"c" * 100_000, b"d"]
    for payload in payloads:
        journal.append(payload)
    journal.release()
    assert read_all(journal.directory, max_bytes=64) == payloads
    assert caplog.records == []


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read_all(tmp_path / ID) == []
    assert last_sequence(tmp_path / ID) == 0


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = written(tmp_path, segment_bytes=250)
    path = segment_path(directory, 2)
    path.write_bytes(of_format(9, path.read_bytes()))
    content = path.read_bytes()
    with caplog.at_level(logging.DEBUG), pytest.raises(JournalError, match=r"journal format 9.*Upgrade"):
        read_all(directory)
    assert path.read_bytes() == content
    assert kept(tmp_path) == []
