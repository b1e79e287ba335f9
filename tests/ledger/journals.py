"""Journals for tests, and what can be read in them."""

import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.places import journal_of
from bursar.ledger.reader import JournalReader
from bursar.ledger.segment import HEADER_BYTES

ID = JournalId(uuid7(1_790_000_000_000, 12345))


def read_all(directory: Path, *, sequence: int = 1, max_bytes: int = 256) -> list[bytes]:
    """The payloads that a new reader finds."""
    return [payload for _, payload in numbered(directory, sequence=sequence, max_bytes=max_bytes)]


def numbered(directory: Path, *, sequence: int = 1, max_bytes: int = 256) -> list[tuple[int, bytes]]:
    """The same, each with its sequence."""
    reader = JournalReader(directory, journal_of(directory))
    reader.seek(sequence)
    found: list[tuple[int, bytes]] = []
    while batch := reader.read(max_bytes):
        first = reader.next_sequence - len(batch)
        found += [(first + place, payload.tobytes()) for place, payload in enumerate(batch)]
    reader.close()
    return found


def of_format(version: int, content: bytes) -> bytes:
    """A segment as a release with another format would begin it."""
    header = bytearray(content[:HEADER_BYTES])
    header[4] = version
    header[-4:] = struct.pack(">I", zlib.crc32(bytes(header[:-4])))
    return bytes(header) + content[HEADER_BYTES:]


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system of memory, of its own size, at `place`: the only way to have a disk that is really full.

    Who may not mount skips the test; what a disk that refuses means is also tested with a limit on the size of files,
    which everybody may set (`test_group_commit`).
    """
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "bursar-test", place], capture_output=True, text=True)
    if done.returncode != 0:
        assert os.geteuid() != 0 or "permission denied" in done.stderr.lower(), done.stderr
        pytest.skip("mounting a small file system is not permitted here: it needs root and CAP_SYS_ADMIN")
    try:
        yield place
    finally:
        while place.is_mount():
            subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, *, leave: int = 0) -> Path:
    """Take all the room there is at `place`, but for `leave` bytes; the file that has it."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                free = os.statvfs(place)
                left = free.f_bavail * free.f_frsize - leave
                if left <= 0:
                    break
                file.write(b"f" * min(left, 65536))
        except OSError:
            pass
    return filler
