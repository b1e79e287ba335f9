"""The ledger beside the provider's bill, call by call."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import asyncpg

from bursar.oracle.bill import BillLine
from tests.process.caller import Received
from tests.process.calls import Booked

_PATIENCE_S = 180.0

_ROWS = """
SELECT s.litellm_call_id AS mark, s.spend, s.status, s.metadata -> 'bursar' ->> 'evidence' AS evidence, e.cost, e.hold
FROM "LiteLLM_SpendLogs" AS s
LEFT JOIN LATERAL (
    SELECT sum(e.cost_nano_usd)::bigint AS cost, max(e.hold_nano_usd) AS hold
    FROM (SELECT (s.metadata -> 'bursar' ->> 'call_id')::uuid AS call_id) AS c
    JOIN bursar.entries AS e ON e.attempt_id > c.call_id AND e.attempt_id <= bursar.last_attempt_id(c.call_id)
) AS e ON true
"""
_ATTEMPTS = "SELECT count(DISTINCT attempt_id) FROM bursar.entries WHERE kind <> 'call'"
_UNENDED = """
SELECT count(*) FROM bursar.entries AS o WHERE kind = 'open' AND NOT EXISTS (
    SELECT FROM bursar.entries AS t WHERE t.attempt_id = o.attempt_id AND t.kind = ANY ($1::text[])
)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What the books say of one call."""

    mark: str
    cost_nano_usd: int
    """The sum of its entries."""
    evidence: str | None
    status: str
    hold_nano_usd: int | None
    """What an attempt of its had held at most; None: there was no budget."""


@dataclass
class Books:
    """Everything on record."""

    rows: list[Row] = field(repr=False)
    attempts: int
    unended: int
    """Attempts that were promised and have no end."""
    unmarked: int
    """Of those, the ones that are not even marked as unknown."""
    quarantined: int

    @cached_property
    def marks(self) -> set[str]:
        """Of the calls that have a row."""
        return {row.mark for row in self.rows}


async def read_books(url: str) -> Books:
    """The books as they are now."""
    connection = await asyncpg.connect(url)
    try:
        rows = []
        for row in await connection.fetch(_ROWS):
            cost = row["cost"] or 0
            # The float column shows the exact amount.
            assert round(row["spend"] * 1e9) == cost, dict(row)
            rows.append(Row(row["mark"], cost, row["evidence"], row["status"], row["hold"]))
        return Books(
            rows,
            attempts=await connection.fetchval(_ATTEMPTS),
            unended=await connection.fetchval(_UNENDED, ["settle", "void"]),
            unmarked=await connection.fetchval(_UNENDED, ["settle", "void", "unknown"]),
            quarantined=await connection.fetchval("SELECT count(*) FROM bursar.quarantine"),
        )
    finally:
        await connection.close()


async def books_when(url: str, ready: Callable[[Books], bool]) -> Books:
    """The books as soon as they are as they must become."""
    deadline = time.monotonic() + _PATIENCE_S
    while not ready(books := await read_books(url)):
        assert time.monotonic() < deadline, f"the books stay at {len(books.rows)} rows, {books}"
        await asyncio.sleep(0.1)
    return books


async def books_with(url: str, marks: Callable[[], set[str]], *, ended: bool) -> Books:
    """The books as soon as these calls are in them, and every attempt that was promised has its end, or, unless it
    must have `ended`, is marked as unknown."""
    try:
        return await books_when(
            url, lambda books: not (books.unended if ended else books.unmarked) and marks() <= books.marks
        )
    except AssertionError as error:
        missing = marks() - (await read_books(url)).marks
        raise AssertionError(f"{error}; {len(missing)} calls are missing: {sorted(missing)[:20]}") from None


@dataclass
class Differences:
    """What ledger and bill disagree about; marks of calls."""

    missing: list[str] = field(default_factory=list)
    """Billed or answered, and not in the ledger."""
    duplicate: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    """With another cost, or other evidence than the kind of call allows."""
    nano_usd: int = 0
    """How far the exactly booked calls are apart, in total."""


def compare(books: Books, bill: Sequence[BillLine], received: Sequence[Received]) -> Differences:
    """Ledger and bill, row by row, for the calls that clients made."""
    found = Differences()
    billed = Counter(line.attempt for line in bill)
    assert set(billed.values()) <= {1}, "the oracle billed a call twice: it was sent twice"
    costs = {line.attempt: line.cost_nano_usd for line in bill}
    counts = Counter(row.mark for row in books.rows)
    rows = {row.mark: row for row in books.rows}
    found.duplicate = [mark for mark, count in counts.items() if count > 1]
    for call in received:
        row, cost = rows.get(call.mark), costs.get(call.mark)
        if row is None:
            found.missing.append(call.mark)
        elif call.kind.booked is Booked.ESTIMATED:
            if row.evidence != "estimated" or row.cost_nano_usd <= 0:
                found.apart.append(call.mark)
        elif row.cost_nano_usd != (cost or 0) or (cost is None) != (call.kind.booked is Booked.FREE):
            found.apart.append(call.mark)
            found.nano_usd += abs(row.cost_nano_usd - (cost or 0))
    found.missing += [line.attempt or "?" for line in bill if line.attempt not in rows]
    return found
