"""The ledger beside the provider's bill: the same calls, each once, at the same cost to the nano-dollar."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import msgspec

from bench.programs import BenchError
from bursar.oracle.bill import BillLine

_SETTLE_PATIENCE_S = 120.0
_POLL_S = 0.02
_SHOWN = 5
_NANO_PER_USD = 10**9

_ROWS = """
SELECT s.request_id, s.spend, e.cost AS entries_cost, e.settled
FROM "LiteLLM_SpendLogs" AS s
LEFT JOIN (
    SELECT bursar.call_id(attempt_id) AS call_id, sum(cost_nano_usd)::bigint AS cost,
        count(*) FILTER (WHERE kind = 'settle') AS settled
    FROM bursar.entries WHERE kind <> 'call' GROUP BY 1
) AS e ON e.call_id = (s.metadata -> 'bursar' ->> 'call_id')::uuid
"""
_UNENDED = """
SELECT count(*) FROM bursar.entries AS o WHERE kind = 'open' AND NOT EXISTS (
    SELECT FROM bursar.entries AS t WHERE t.attempt_id = o.attempt_id AND t.kind IN ('settle', 'void')
)
"""
_SETTLED = """SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM bursar.entries"""
_KEY_SPEND = 'SELECT coalesce(sum(spend), 0) FROM "LiteLLM_VerificationToken"'
_ROWS_SINCE = 'SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "startTime" >= $1'


class Booked(msgspec.Struct, frozen=True):
    """What the books say of one call."""

    request_id: str
    """The id of the provider's answer; of one that came before, `<id>:<our own>`."""
    spend_usd: float
    """`LiteLLM_SpendLogs.spend`."""
    cost_nano_usd: int | None
    """The sum of its entries; None: there are none."""
    settled: int = 1
    """How many attempts of it were settled."""


class Ledger(msgspec.Struct, frozen=True):
    """All of the books."""

    rows: list[Booked]
    cost_nano_usd: int
    """The sum of all entries, whichever call they name."""
    unended: int = 0
    """Attempts that were opened and have no end."""
    quarantined: int = 0
    key_spend_usd: float = 0.0
    """What the virtual keys have spent, as their own rows say."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How ledger and bill compare."""

    answered: int
    """Calls that the load generator got whole answers to."""
    billed: int
    booked: int
    missing: int
    """Billed and not booked."""
    unbilled: int
    """Booked and not billed."""
    duplicate: int
    """Booked or billed again."""
    apart: int
    """Calls whose cost differs, in the entries or in the log row."""
    apart_nano_usd: int
    """By how much in all, signs left out."""
    other: list[str]
    """Whatever else is wrong: totals, attempts without an end, entries set aside."""
    examples: list[str]

    @property
    def complete(self) -> bool:
        """Nothing differs."""
        differences = self.missing + self.unbilled + self.duplicate + self.apart + self.apart_nano_usd
        return differences == 0 and not self.other


def compare(bill: Sequence[BillLine], ledger: Ledger, *, answered: int) -> Agreement:
    """Ledger and bill, call by call, by the id of the provider's answer."""
    costs = {_id_of(line): line.cost_nano_usd for line in bill}
    rows = {row.request_id.partition(":")[0]: row for row in ledger.rows}
    missing = costs.keys() - rows.keys()
    unbilled = rows.keys() - costs.keys()
    duplicate = (len(bill) - len(costs)) + (len(ledger.rows) - len(rows)) + sum(row.settled > 1 for row in ledger.rows)
    apart = {key: _difference(rows[key], cost) for key, cost in costs.items() if key in rows}
    apart = {key: by for key, by in apart.items() if by}
    examples = [f"missing: {key}" for key in sorted(missing)[:_SHOWN]]
    examples += [f"not billed: {key}" for key in sorted(unbilled)[:_SHOWN]]
    examples += [f"{by} nano-dollars apart: {key}" for key, by in sorted(apart.items())[:_SHOWN]]
    bookings = Counter(row.request_id.partition(":")[0] for row in ledger.rows)
    billings = Counter(_id_of(line) for line in bill)
    examples += [f"settled {row.settled} times: {row.request_id}" for row in ledger.rows if row.settled > 1][:_SHOWN]
    examples += [f"billed {count} times: {key}" for key, count in billings.most_common(_SHOWN) if count > 1]
    examples += [f"booked {count} times: {key}" for key, count in bookings.most_common(_SHOWN) if count > 1]
    return Agreement(
        answered=answered,
        billed=len(bill),
        booked=len(ledger.rows),
        missing=len(missing),
        unbilled=len(unbilled),
        duplicate=duplicate,
        apart=len(apart),
        apart_nano_usd=sum(apart.values()),
        other=_other(bill, ledger, answered),
        examples=examples,
    )


def _id_of(line: BillLine) -> str:
    return line.id or line.provider_request_id


def _difference(row: Booked, cost_nano_usd: int) -> int:
    """The larger of what the entries and what the log row is off by."""
    shown = round(row.spend_usd * _NANO_PER_USD)
    return max(abs((row.cost_nano_usd or 0) - cost_nano_usd), abs(shown - cost_nano_usd))


def _other(bill: Sequence[BillLine], ledger: Ledger, answered: int) -> list[str]:
    total = sum(line.cost_nano_usd for line in bill)
    wrong: list[str] = []
    if len(ledger.rows) != answered:
        wrong.append(f"{answered} calls were answered, {len(ledger.rows)} are booked")
    if any(row.cost_nano_usd is None or row.settled == 0 for row in ledger.rows):
        wrong.append("there are log rows without a settled attempt")
    if ledger.cost_nano_usd != total:
        wrong.append(f"the entries come to {ledger.cost_nano_usd} nano-dollars, the bill to {total}")
    if abs(ledger.key_spend_usd * _NANO_PER_USD - total) > max(total * 1e-9, 1.0):  # a float, added up in parts
        wrong.append(f"the keys have spent ${ledger.key_spend_usd:.9f}, the bill says ${total / _NANO_PER_USD:.9f}")
    if ledger.unended:
        wrong.append(f"{ledger.unended} attempts have no end")
    if ledger.quarantined:
        wrong.append(f"{ledger.quarantined} entries are in quarantine")
    return wrong


class BooksReader:
    """Looks into a gateway's database, on one connection."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url))

    def wait_for_rows(self, count: int, *, since: datetime) -> None:
        """Until so many calls that began at `since` or later are in the log table.

        Raises BenchError: they do not come, or there are more.
        """
        deadline = time.monotonic() + _SETTLE_PATIENCE_S
        when = since.astimezone(UTC).replace(tzinfo=None)  # the column's
        while (found := self._fetchval(_ROWS_SINCE, when)) < count:
            if time.monotonic() > deadline:
                raise BenchError(f"the ledger stays at {found} of {count} calls for {_SETTLE_PATIENCE_S:g} s")
            time.sleep(_POLL_S)
        if found > count:
            raise BenchError(f"{count} calls were answered, and {found} are in the ledger")

    def read(self) -> Ledger:
        """Everything."""
        rows = self._runner.run(self._connection.fetch(_ROWS))
        return Ledger(
            [Booked(row["request_id"], row["spend"], row["entries_cost"], row["settled"] or 0) for row in rows],
            cost_nano_usd=self._fetchval(_SETTLED),
            unended=self._fetchval(_UNENDED),
            quarantined=self._fetchval("SELECT count(*) FROM bursar.quarantine"),
            key_spend_usd=float(self._fetchval(_KEY_SPEND)),
        )

    def close(self) -> None:
        """Let the connection go."""
        self._runner.run(self._connection.close())
        self._runner.close()

    def _fetchval(self, query: str, *arguments: object) -> int:
        value: int = self._runner.run(self._connection.fetchval(query, *arguments))
        return value
