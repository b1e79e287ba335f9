"""What a record costs the journal: CPU of this thread, the kernel's work included, on the file system it lies on."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.spread import Spread, spread_of
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.journal import Journal

_ROUNDS = 20
_TOGETHER = 32
"""As many as a busy event loop finds calls in one turn."""
_US = 1e6


class Appending(msgspec.Struct, frozen=True):
    """Microseconds a record."""

    alone_us: Spread
    together_us: Spread
    together: int
    """How many at a time."""


def measure_appending(records: Sequence[bytes], root: Path) -> Appending:
    """`records` written again, to a journal in `root`."""
    journal = Journal(root / "appending", JournalId(uuid7(time.time_ns() // 1_000_000, 1)))
    try:
        alone, together = [], []
        batches = [records[start : start + _TOGETHER] for start in range(0, len(records), _TOGETHER)]
        for _ in range(_ROUNDS):
            began_s = time.thread_time()
            for record in records:
                journal.append(record)
            between_s = time.thread_time()
            for batch in batches:
                journal.append_all(batch)
            ended_s = time.thread_time()
            alone.append((between_s - began_s) / len(records) * _US)
            together.append((ended_s - between_s) / len(records) * _US)
    finally:
        journal.release()
    return Appending(spread_of(alone), spread_of(together), _TOGETHER)
