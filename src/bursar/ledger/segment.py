"""The journal's file format: append-only segments of framed records.

A segment is a file `<number>.seg`:

    header   magic "BSRJ", format u8, 3 zero bytes, segment number u64, sequence of the first record u64,
             journal id 16 bytes, CRC-32 u32
    record   magic ff "BR" fe, CRC-32 u32, length u32, sequence u64, payload

Integers are big-endian. Later formats keep the header's layout, so that a release which does not know them can tell
them from damage. A record's CRC is that of all that follows it in the record, seeded with journal and segment, so that
zero-filled space, and a record of another journal or segment, do not pass for one. Its magic is not UTF-8, hence in no
payload, which is JSON: behind damage, reading goes on at the next record. Sequences count the records of a journal from
1 and go on across its segments, so that they tell how many are missing.
"""

import struct
import sys
import zlib
from typing import NamedTuple
from uuid import UUID

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId

MAGIC = b"BSRJ"
FORMAT = 2
_RECORD_MAGIC = b"\xffBR\xfe"
_HEADER = struct.Struct(">4sB3xQQ16sI")
_CHECK = struct.Struct(">4sI")
_PLACE = struct.Struct(">IQ")
_FRAME = struct.Struct(">4sIIQ")
_CHECK_BYTES = _CHECK.size
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
PAYLOAD_MAX_BYTES = 64 * 1024 * 1024


def encode_header(journal: JournalId, number: int, first_sequence: int) -> bytes:
    """The first bytes of segment `number` of `journal`."""
    packed = _HEADER.pack(MAGIC, FORMAT, number, first_sequence, UUID(journal).bytes, 0)[:-4]
    return packed + struct.pack(">I", zlib.crc32(packed))


def first_sequence(data: bytes, *, journal: JournalId, number: int, where: str) -> int | None:
    """The sequence of the segment's first record; None: `data` does not begin with the header of this very segment.

    Raises JournalError: it is a segment of a format that is not known here.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version, found_number, sequence, found_journal, crc = _HEADER.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[: HEADER_BYTES - 4]) != crc:
        return None
    if version != FORMAT:
        cure = "Upgrade bursar to read it" if version > FORMAT else "It was written before the first release"
        raise JournalError(f"{where}: journal format {version}; this release reads format {FORMAT}. {cure}.")
    if found_number != number or found_journal != UUID(journal).bytes:
        return None
    return int(sequence)


def seed_of(journal: JournalId, number: int) -> int:
    """What the checksums of segment `number` begin with."""
    return zlib.crc32(UUID(journal).bytes + struct.pack(">Q", number))


def frame(seed: int, sequence: int, payload: bytes) -> bytes:
    """One record, ready to be appended to the segment whose seed is `seed`."""
    checked = _PLACE.pack(len(payload), sequence) + payload
    return _CHECK.pack(_RECORD_MAGIC, zlib.crc32(checked, seed)) + checked


def payloads_in(
    data: bytes | memoryview, *, seed: int, sequence: int, at_most: int = sys.maxsize
) -> tuple[list[memoryview], int]:
    """The payloads of the records in `data`, which begins at a frame's start, and the bytes those records take.

    `sequence`: that of the first record expected; the others follow it one by one. Ends silently where no further
    complete, correct record follows. The payloads are views: they keep `data`.
    """
    view = memoryview(data)
    end = len(data)
    payloads: list[memoryview] = []
    offset = 0
    while (start := offset + FRAME_BYTES) <= end and len(payloads) < at_most:
        magic, crc, length, found = _FRAME.unpack_from(data, offset)
        stop = start + length
        if found != sequence or magic != _RECORD_MAGIC or stop > end or length > PAYLOAD_MAX_BYTES:
            break
        if zlib.crc32(view[offset + _CHECK_BYTES : stop], seed) != crc:
            break
        payloads.append(view[start:stop])
        offset = stop
        sequence += 1
    return payloads, offset


class Found(NamedTuple):
    """Where a record stands, and which one it is."""

    offset: int
    sequence: int


def next_record(data: bytes, *, seed: int, least: int, start: int = 0) -> Found | None:
    """The first complete, correct record in `data` from `start` on whose sequence is `least` or more."""
    view = memoryview(data)
    offset = data.find(_RECORD_MAGIC, start)
    while offset >= 0:
        if offset + FRAME_BYTES <= len(data):
            sequence = int(_FRAME.unpack_from(data, offset)[3])
            if sequence >= least and payloads_in(view[offset:], seed=seed, sequence=sequence, at_most=1)[0]:
                return Found(offset, sequence)
        offset = data.find(_RECORD_MAGIC, offset + 1)
    return None
