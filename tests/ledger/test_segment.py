"""The file format: what is a record, and what is not."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.segment import (
    FRAME_BYTES,
    HEADER_BYTES,
    encode_header,
    first_sequence,
    frame,
    next_record,
    payloads_in,
    seed_of,
)
from tests.ledger.journals import ID

OTHER = JournalId(uuid7(1_790_000_000_000, 54321))
SEED = seed_of(ID, 3)

payload_lists = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


@given(payloads=payload_lists, cut=st.integers(0, 600), zeros=st.integers(0, 64))
def test_of_what_is_cut_off_the_whole_records_stay(payloads: list[bytes], cut: int, zeros: int) -> None:
    """Behind the cut there may be room that was set aside and is full of zeros."""
    data = b"".join(frame(SEED, 5 + i, p) for i, p in enumerate(payloads))
    cut = min(cut, len(data))
    ends = [sum(FRAME_BYTES + len(p) for p in payloads[: n + 1]) for n in range(len(payloads))]
    whole = sum(end <= cut for end in ends)
    found, used = payloads_in(data[:cut] + bytes(zeros), seed=SEED, sequence=5)
    # Zeros behind a record that ends in zeros may complete it: then it is the same record.
    assert found[:whole] == payloads[:whole]
    assert found == payloads[: len(found)]
    assert len(found) == whole or zeros
    assert used == ([0, *ends])[len(found)]


@given(payload=st.binary(min_size=1, max_size=60), position=st.integers(0, 80), flip=st.integers(1, 255))
def test_a_changed_byte_is_not_a_record(payload: bytes, position: int, flip: int) -> None:
    data = bytearray(frame(SEED, 1, payload))
    position %= len(data)
    data[position] ^= flip
    assert payloads_in(bytes(data), seed=SEED, sequence=1) == ([], 0)


@given(content=st.one_of(st.binary(max_size=200), st.integers(0, 4096).map(bytes)), sequence=st.integers(1, 2**40))
def test_what_is_no_record_is_none(content: bytes, sequence: int) -> None:
    assert payloads_in(content, seed=SEED, sequence=sequence) == ([], 0)
    assert next_record(content, seed=SEED, least=1) is None
    assert first_sequence(content, journal=ID, number=3, where="") is None


@pytest.mark.parametrize("seed", [seed_of(ID, 2), seed_of(OTHER, 3)], ids=["segment", "journal"])
@given(payloads=payload_lists)
def test_a_record_of_another_place_is_none(seed: int, payloads: list[bytes]) -> None:
    data = b"".join(frame(seed, 1 + i, p) for i, p in enumerate(payloads))
    assert payloads_in(data, seed=SEED, sequence=1) == ([], 0)
    assert next_record(data, seed=SEED, least=1) is None


def test_a_record_is_not_another_one() -> None:
    assert payloads_in(frame(SEED, 1, b"payload"), seed=SEED, sequence=2) == ([], 0)


@given(rubbish=st.binary(max_size=60).filter(lambda data: b"\xff" not in data), payload=st.binary(max_size=40))
def test_behind_rubbish_the_next_record_is_found(rubbish: bytes, payload: bytes) -> None:
    data = rubbish + frame(SEED, 7, b"old")[:-1] + frame(SEED, 9, payload) + frame(SEED, 10, payload)
    found = next_record(data, seed=SEED, least=7)
    assert found == (len(rubbish) + FRAME_BYTES + 2, 9)
    assert next_record(data, seed=SEED, least=10) == (len(data) - FRAME_BYTES - len(payload), 10)
    assert next_record(data, seed=SEED, least=11) is None


def test_a_header_is_that_of_its_own_segment() -> None:
    header = encode_header(ID, 3, 77)
    assert first_sequence(header + b"more", journal=ID, number=3, where="") == 77
    assert first_sequence(header, journal=ID, number=4, where="") is None
    assert first_sequence(header, journal=OTHER, number=3, where="") is None
    assert first_sequence(header[:-1], journal=ID, number=3, where="") is None


@pytest.mark.parametrize(("version", "cure"), [(9, "Upgrade bursar"), (1, "before the first release")])
def test_another_format_is_not_taken_for_damage(version: int, cure: str) -> None:
    data = bytearray(encode_header(ID, 3, 77))
    data[4] = version
    assert first_sequence(bytes(data), journal=ID, number=3, where="") is None, "this one is damaged"
    data[HEADER_BYTES - 4 :] = struct.pack(">I", zlib.crc32(bytes(data[: HEADER_BYTES - 4])))
    with pytest.raises(JournalError, match=rf"the file: journal format {version}.*{cure}"):
        first_sequence(bytes(data), journal=ID, number=3, where="the file")
