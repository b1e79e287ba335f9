"""The auditor: the books against themselves. See `queries/audit.sql` for what is compared."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bursar.domain.money import usd_text
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("audit")
_SHOWN = 100
"""Differences of one kind that are listed."""
_TIMEOUT_S = 3600.0

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, what comes now."""


class Difference(msgspec.Struct, frozen=True):
    """Something that is not what the entries say."""

    check: str
    what: str
    expected: int
    """Nano-dollars, from the entries."""
    found: int


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """How a look at the books came out."""

    entries: int
    calls: int
    spend_nano_usd: int
    """The sum of all charges."""
    differences: list[Difference]
    """At most a hundred of each kind."""
    notes: list[str] = []
    """What is no difference, and explains figures that are odd: estimates, budgets passed, incidents."""

    @property
    def closes(self) -> bool:
        """Nothing differs."""
        return not self.differences

    def as_text(self) -> str:
        """For people."""
        lines = [
            f"{difference.check}: {difference.what}: {usd_text(difference.expected)} by the entries, "
            f"{usd_text(difference.found)} found"
            for difference in self.differences
        ]
        lines += [f"Note: {note}" for note in self.notes]
        looked = f"{self.entries:,} entries, {self.calls:,} calls, {usd_text(self.spend_nano_usd)} USD"
        if self.closes:
            return "\n".join((*lines, f"The books close: {looked}, nothing differs."))
        return "\n".join((*lines, f"The books do not close: {looked}, {len(self.differences)} differences."))

    def as_json(self) -> str:
        """For programs; money in US dollars, as decimal strings."""
        found = {
            "closes": self.closes,
            "entries": self.entries,
            "calls": self.calls,
            "spend_usd": usd_text(self.spend_nano_usd),
            "drift_usd": usd_text(self.drift_nano_usd),
            "differences": [
                {
                    "check": difference.check,
                    "what": difference.what,
                    "expected_usd": usd_text(difference.expected),
                    "found_usd": usd_text(difference.found),
                }
                for difference in self.differences
            ],
            "notes": self.notes,
        }
        return msgspec.json.format(msgspec.json.encode(found)).decode()

    @property
    def drift_nano_usd(self) -> int:
        """How far what is kept is from the entries, added up. 0: the books close."""
        return sum(abs(difference.expected - difference.found) for difference in self.differences)


async def audit(database: Database, progress: Progress = lambda _done, _all, _name: None) -> Audit:
    """Compare everything, in one snapshot. Takes a second for a hundred thousand calls or so. Raises StoreError."""
    checks: Sequence[tuple[str, str]] = [
        ("attempts without a call", "attempts_without_a_call"),
        ("attempts left open", "attempts_left_open"),
        ("budget windows", "windows"),
        ("grants", "grants"),
        ("log rows", "rows"),
        ("keys", "keys"),
        ("days of users", "daily_users"),
        ("days of teams", "daily_teams"),
        ("days of organizations", "daily_organizations"),
        ("days of end users", "daily_end_users"),
        ("days of tags", "daily_tags"),
        ("quarantine", "quarantine"),
    ]
    steps = len(checks) + 1
    async with database.transaction() as connection:
        await connection.execute(_SQL["begin"])
        await connection.execute(_SQL["plan"])
        progress(0, steps, "folding the entries")
        await connection.execute(_SQL["fold"], timeout=_TIMEOUT_S)
        await connection.execute(_SQL["know"])
        counts = await connection.fetchrow(_SQL["count"], timeout=_TIMEOUT_S)
        differences: list[Difference] = []
        for done, (name, query) in enumerate(checks, 1):
            progress(done, steps, name)
            rows = await _run(connection, query)
            differences += [Difference(name, row["what"], row["expected"], row["found"]) for row in rows]
        notes = [row["note"] for row in await connection.fetch(_SQL["notes"], timeout=_TIMEOUT_S)]
        progress(steps, steps, "")
    return Audit(
        entries=counts["entries"],
        calls=counts["calls"],
        spend_nano_usd=counts["spend"],
        differences=differences,
        notes=notes,
    )


async def _run(connection: Any, query: str) -> list[Any]:  # noqa: ANN401  # asyncpg
    statement = _SQL[query]
    return list(await connection.fetch(statement, _SHOWN, timeout=_TIMEOUT_S))
