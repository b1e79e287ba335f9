"""The journal's file format: append-only segments of framed records.

A segment is a file `<number>.seg`:

    header   magic "BSRJ", format u8, 3 zero bytes, segment number u64, sequence of the first record u64,
             journal id 16 bytes, CRC-32 u32
    record   length u32, CRC-32 u32, sequence u64, payload

Integers are big-endian. A record's CRC is its payload's, seeded with the segment's number and the sequence, so that
zero-filled space, a record of another segment or one copied to another place do not pass for a record. Sequences count
the records of a journal from 1 and go on across its segments. Reading ends at the first frame that does not check: what
follows a torn write was never acknowledged.
"""

import struct
import sys
import zlib
from uuid import UUID

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId

MAGIC = b"BSRJ"
FORMAT = 1
_HEADER = struct.Struct(">4sB3xQQ16sI")
_FRAME = struct.Struct(">IIQ")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
PAYLOAD_MAX_BYTES = 64 * 1024 * 1024


def encode_header(journal: JournalId, number: int, first_sequence: int) -> bytes:
    """The first bytes of segment `number` of `journal`."""
    packed = _HEADER.pack(MAGIC, FORMAT, number, first_sequence, UUID(journal).bytes, 0)[:-4]
    return packed + struct.pack(">I", zlib.crc32(packed))


def check_header(data: bytes, *, journal: JournalId, number: int, where: str) -> int:
    """The sequence of the segment's first record.

    Raises JournalError unless `data` begins with the header of this very segment, in a format known here.
    """
    if len(data) < HEADER_BYTES:
        raise JournalError(f"{where}: too short for a journal segment")
    magic, version, found_number, first_sequence, found_journal, crc = _HEADER.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[: HEADER_BYTES - 4]) != crc:
        raise JournalError(f"{where}: not a journal segment, or its header is damaged")
    if version != FORMAT:
        raise JournalError(f"{where}: journal format {version}; this release reads format {FORMAT}. Upgrade bursar.")
    if found_number != number or found_journal != UUID(journal).bytes:
        raise JournalError(f"{where}: belongs to another place in the journal")
    return int(first_sequence)


def frame(number: int, sequence: int, payload: bytes) -> bytes:
    """One record, ready to be appended to segment `number`."""
    return _FRAME.pack(len(payload), zlib.crc32(payload, _seed(number, sequence)), sequence) + payload


def _seed(number: int, sequence: int) -> int:
    """Different for all records that a journal can hold at a time."""
    return (number * 0x9E37_79B1 + sequence) & 0xFFFF_FFFF


def payloads_in(data: bytes, *, number: int, sequence: int, at_most: int = sys.maxsize) -> tuple[list[memoryview], int]:
    """The payloads of the records in `data`, which begins at a frame's start, and the bytes those records take.

    `sequence`: that of the first record expected; the others follow it one by one. Ends silently where no further
    complete, correct record follows. The payloads are views: they keep `data`.
    """
    view = memoryview(data)
    end = len(data)
    payloads: list[memoryview] = []
    offset = 0
    while (start := offset + FRAME_BYTES) <= end and len(payloads) < at_most:
        length, crc, found = _FRAME.unpack_from(data, offset)
        stop = start + length
        if found != sequence or stop > end or length > PAYLOAD_MAX_BYTES:
            break
        payload = view[start:stop]
        if zlib.crc32(payload, _seed(number, sequence)) != crc:
            break
        payloads.append(payload)
        offset = stop
        sequence += 1
    return payloads, offset
