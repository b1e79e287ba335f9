"""The journal keeps what it acknowledged, whatever happens to the bytes behind it."""

import os
import resource
import signal
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.journal import (
    Journal,
    JournalLock,
    JournalReader,
    done_journals,
    segment_numbers,
    segment_path,
    waiting_journals,
)
from bursar.ledger.segment import HEADER_BYTES, frame, payloads_in

ID = JournalId(uuid7(1_790_000_000_000, 12345))


def read_all(directory: Path, *, sequence: int = 1) -> list[memoryview]:
    reader = JournalReader(directory, ID)
    reader.seek(sequence)
    found = []
    while batch := reader.read(max_bytes=256):
        found += batch
    reader.close()
    return found


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


@given(payloads=st.lists(st.binary(max_size=40), min_size=1, max_size=8), cut=st.integers(0, 400), zeros=st.booleans())
def test_a_torn_tail_loses_only_what_it_tore(payloads: list[bytes], cut: int, zeros: bool) -> None:
    data = b"".join(frame(3, 5 + i, p) for i, p in enumerate(payloads))
    torn = data[: max(0, len(data) - cut)] + (b"\0" * 64 if zeros else b"")
    found, used = payloads_in(torn, number=3, sequence=5)
    assert found == payloads[: len(found)]
    assert used == sum(len(frame(3, 5, bytes(p))) for p in found)
    lost = sum(len(frame(3, 5 + i, p)) for i, p in enumerate(payloads[len(found) :], start=len(found)))
    assert cut == 0 or not payloads[len(found) :] or lost >= min(cut, len(data))
    assert cut > 0 or found == payloads


@given(payload=st.binary(min_size=1, max_size=60), position=st.integers(0, 80), flip=st.integers(1, 255))
def test_a_changed_byte_is_not_a_record(payload: bytes, position: int, flip: int) -> None:
    data = bytearray(frame(1, 1, payload))
    position %= len(data)
    data[position] ^= flip
    assert payloads_in(bytes(data), number=1, sequence=1) == ([], 0)


def test_a_record_in_another_place_is_not_a_record() -> None:
    data = frame(1, 1, b"payload")
    assert payloads_in(data, number=2, sequence=1) == ([], 0)
    assert payloads_in(data, number=1, sequence=2) == ([], 0)


def test_a_short_write_seals_the_segment_and_the_next_append_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    journal.append(b"one")
    limit = os.path.getsize(segment_path(journal.directory, 1)) + 5

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(JournalError, match="cannot write the journal"):
            journal.append(b"two, which does not fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert os.path.getsize(segment_path(journal.directory, 1)) == limit  # the torn bytes are there
    assert journal.append(b"two again") == 2
    assert read_all(journal.directory) == [b"one", b"two again"]
    journal.release()


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


def test_a_segment_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID)
    journal.append(b"one")
    journal.release()

    path = segment_path(journal.directory, 1)
    data = bytearray(path.read_bytes())
    data[4] = 9
    data[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack(">I", zlib.crc32(bytes(data[: HEADER_BYTES - 4])))
    path.write_bytes(bytes(data))
    with pytest.raises(JournalError, match=r"journal format 9.*Upgrade"):
        read_all(journal.directory)


def test_a_record_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ID, segment_bytes=100)
    for _ in range(20):
        journal.append(b"x" * 40)
    segment_path(journal.directory, 1).unlink()
    with pytest.raises(JournalError, match="no longer kept"):
        read_all(journal.directory)
    journal.release()
