"""Reads a journal's records in order: the live one behind its writer, or what somebody left.

Where reading stops, one of these is the case:

- the end of what is written so far, or a torn tail, which is normal after kill -9 or a full disk: nobody was told that
  what it held was on record. A next segment, if there is one, carries on with the very next sequence.
- damage: records that were acknowledged cannot be read. A later record in the segment, or where the next segment
  begins, shows it, and how many are missing. It is told once, with file and offset; the file is kept; reading goes on.
- a segment is gone: as damage, without a file to keep.

Damage to the last records of all cannot be told from a torn tail. `left_over` says how many bytes there are of either.
"""

import logging
import os
import sys
from pathlib import Path

from bursar.domain.ids import JournalId
from bursar.ledger.places import assign, books_of, journal_of, keep_damaged, segment_numbers, segment_path
from bursar.ledger.segment import FRAME_BYTES, HEADER_BYTES, first_sequence, next_record, payloads_in, seed_of

log = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024


class JournalReader:
    """Reads one journal, from any sequence on."""

    def __init__(self, directory: Path, journal_id: JournalId) -> None:
        self._directory = directory
        self._id = journal_id
        self._number = 0
        self._seed = 0
        self._path = directory
        self._fd = -1
        self._offset = 0
        self._known: set[tuple[int, int]] = set()
        """Segments and offsets of damage that was told."""
        self.next_sequence = 1
        """Of the record that is expected next; those of a batch just read end before it."""
        self.missing = 0
        """Records that were passed over because they cannot be read, or are gone."""

    def belongs_to(self, books: str) -> None:
        """Whoever finds the journal is to know which books it is in. Raises OSError."""
        if books_of(self._directory) != books:
            assign(self._directory, books)

    def seek(self, sequence: int) -> None:
        """Go to the record `sequence`; if that is no longer kept, to the oldest that is, which `next_sequence` tells.

        Raises JournalError: the journal is of another format; OSError.
        """
        self.close()
        self._number = 0
        self.next_sequence = sequence
        oldest: tuple[int, int] | None = None
        for number in reversed(segment_numbers(self._directory)):
            first = self._first_sequence(number)
            if first is None:
                continue
            oldest = number, first
            if first <= sequence:
                break
        if oldest is not None:
            self._enter(*oldest)
            self._skip_to(sequence)

    def read(self, max_bytes: int = _READ_BYTES) -> list[memoryview]:
        """The payloads of the next records, about `max_bytes` of them, without a gap between them; empty at the end of
        what is written so far. The first one's sequence is `next_sequence - len(…)`, afterwards.

        Raises JournalError: the journal is of another format; OSError.
        """
        while self._fd >= 0 or self._enter_next():
            if batch := self._read_here(max_bytes):
                return batch
            if not self._enter_next():
                break
        return []

    def read_on(self, max_bytes: int) -> list[memoryview]:
        """What the next segment begins with, about `max_bytes` of it, if `read` has just arrived at the end of the open
        one, and it goes on right there; else empty, and `read` will tell why.

        Raises JournalError: the journal is of another format; OSError.
        """
        following = self._number + 1
        if self._fd < 0 or not segment_path(self._directory, following).exists():
            return []
        if self.left_over or self._first_sequence(following) != self.next_sequence:
            return []
        self._enter(following, self.next_sequence)
        return self._parse(os.pread(self._fd, max_bytes, self._offset), sys.maxsize)

    def close(self) -> None:
        """Let go of the open segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def segment(self) -> int:
        """Number of the segment being read; those below it have been read to their end."""
        return self._number

    @property
    def left_over(self) -> int:
        """Bytes behind the last record that could be read, where nothing follows: a torn tail, or damage at the very
        end. Zeros do not count."""
        if self._fd < 0:
            return 0
        return len(os.pread(self._fd, os.fstat(self._fd).st_size - self._offset, self._offset).rstrip(b"\0"))

    def _skip_to(self, sequence: int) -> None:
        """Pass over the open segment's records before `sequence`."""
        while self.next_sequence < sequence and self._read_here(_READ_BYTES, before=sequence):
            pass

    def _read_here(self, max_bytes: int, *, before: int = sys.maxsize) -> list[memoryview]:
        """What can be read in the open segment, past damage if something readable follows; at most the records whose
        sequence is below `before`."""
        data = os.pread(self._fd, max_bytes, self._offset)
        if (batch := self._parse(data, before)) or len(data) < FRAME_BYTES:
            return batch
        rest = os.fstat(self._fd).st_size - self._offset
        if rest > len(data):  # a record larger than one read, or damage
            data = os.pread(self._fd, rest, self._offset)
            if batch := self._parse(data, min(before, self.next_sequence + 1)):
                return batch
        found = next_record(data, seed=self._seed, least=self.next_sequence)
        if found is None:
            return []
        self._pass_damage(found.offset, found.sequence - self.next_sequence)
        return self._parse(data[found.offset :], min(before, self.next_sequence + 1))

    def _parse(self, data: bytes, before: int) -> list[memoryview]:
        at_most = max(0, before - self.next_sequence)
        payloads, used = payloads_in(data, seed=self._seed, sequence=self.next_sequence, at_most=at_most)
        self._offset += used
        self.next_sequence += len(payloads)
        return payloads

    def _enter_next(self) -> bool:
        """Go on to the following segment, if there is one that can be read."""
        for number in segment_numbers(self._directory):
            if number > self._number and (first := self._first_sequence(number)) is not None:
                expected = self.next_sequence if self._number else first
                if first > expected:
                    self._pass_missing(first - expected)
                self._enter(number, first)
                self._skip_to(expected)
                return True
        return False

    def _enter(self, number: int, sequence: int) -> None:
        self.close()
        self._path = segment_path(self._directory, number)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._number = number
        self._seed = seed_of(self._id, number)
        self._offset = HEADER_BYTES
        self.next_sequence = sequence

    def _first_sequence(self, number: int) -> int | None:
        """The sequence of segment `number`'s first record; None: nothing can be read there, at least not yet.

        Raises JournalError: it is of another format; OSError.
        """
        path = segment_path(self._directory, number)
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            first = first_sequence(head, journal=self._id, number=number, where=str(path))
            if first is not None or len(head) < HEADER_BYTES:
                return first
            content = head + file.read()
        found = next_record(content, seed=seed_of(self._id, number), least=1)
        if len(content.rstrip(b"\0")) >= HEADER_BYTES:  # else its process died while it made the segment
            self._tell(path, number, 0, HEADER_BYTES if found else len(content), 0)
        if found is None:
            return None
        return min(found.sequence, self.next_sequence) if self._number else found.sequence

    def _pass_missing(self, missing: int) -> None:
        """The next `missing` records are not where they should be: before the next segment's first."""
        if size := self.left_over:
            self._pass_damage(size, missing)
        elif (self._number, -1) not in self._known:
            self._known.add((self._number, -1))
            self.missing += missing
            log.critical("journal.gap directory=%s after=%d missing=%d", self._directory, self._number, missing)

    def _pass_damage(self, size: int, missing: int) -> None:
        """The next `size` bytes of the open segment cannot be read."""
        self._tell(self._path, self._number, self._offset, size, missing)
        self.next_sequence += missing
        self._offset += size

    def _tell(self, path: Path, number: int, offset: int, size: int, missing: int) -> None:
        if (number, offset) in self._known:
            return
        self._known.add((number, offset))
        self.missing += missing
        try:
            kept = keep_damaged(path, offset)
        except OSError as error:
            log.error("journal.damaged_not_kept file=%s reason=%s", path, error.strerror)
            kept = path
        if kept is not None:
            log.critical(
                "journal.damaged file=%s offset=%d bytes=%d missing=%d kept=%s", path, offset, size, missing, kept
            )


def last_sequence(directory: Path) -> int:
    """Of the last record that can be read in a journal; 0: there is none. Raises as `JournalReader.seek` does."""
    reader = JournalReader(directory, journal_of(directory))
    try:
        reader.seek(sys.maxsize)
        return reader.next_sequence - 1 if reader.segment else 0
    finally:
        reader.close()
