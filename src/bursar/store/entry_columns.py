"""Entries as columns, an array each: taking a batch of JSON apart costs the database several times what it costs us."""

import re
from collections.abc import Sequence

import msgspec

from bursar.domain.errors import StoreRefused


class _Entry(msgspec.Struct, gc=False):
    """An entry as `domain.accounting.Entry` writes it, as far as it has columns of its own."""

    kind: str
    attempt_id: str
    at_us: int
    body: msgspec.Raw
    seq: int = 0
    cost_nano_usd: int | None = None
    evidence: str | None = None
    hold_nano_usd: int | None = None
    windows: list[str] | None = None
    owner: str | None = None


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The character that no text of the database can hold: later it would fail whoever reads the entry."""
_decode = msgspec.json.Decoder(list[_Entry]).decode


def columns_of(entries: bytes) -> tuple[Sequence[object], ...]:
    """Kind, attempt, time, body (JSON text), cost, evidence, hold, windows (an array's text), sequence and owner of a
    JSON array of entries, in their order. The last two are empty where no entry has one.

    Raises StoreRefused: it is not what a journal holds, or holds NUL, which the database takes nowhere.
    """
    if b"\\u0000" in entries and _NUL.search(entries):
        raise StoreRefused("an entry holds \\u0000, which cannot be converted to text")
    try:
        found = _decode(entries)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreRefused(f"an entry cannot be read: {error}") from error
    return (
        [entry.kind for entry in found],
        [entry.attempt_id for entry in found],
        [entry.at_us for entry in found],
        [bytes(entry.body).decode() for entry in found],
        [entry.cost_nano_usd for entry in found],
        [entry.evidence for entry in found],
        [entry.hold_nano_usd for entry in found],
        [None if entry.windows is None else f"{{{','.join(entry.windows)}}}" for entry in found],
        [entry.seq for entry in found] if any(entry.seq for entry in found) else (),
        [entry.owner for entry in found] if any(entry.owner for entry in found) else (),
    )
