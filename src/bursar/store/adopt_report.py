"""What `bursar db adopt` tells of a LiteLLM proxy's database: for people, and as JSON."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from bursar.domain.money import usd_text


class TableRows(msgspec.Struct, frozen=True):
    """A table of LiteLLM's."""

    name: str
    rows: int
    spend_nano_usd: int | None = None
    """What its `spend` column adds up to; None: it has none, or no rows."""
    exact: bool = True
    """Counted, not the server's own estimate."""


class KeyCounts(msgspec.Struct, frozen=True):
    """Virtual keys by state."""

    total: int
    usable: int
    blocked: int
    expired: int
    not_hashed: int


class BudgetLine(msgspec.Struct, frozen=True):
    """A budget, and the window it will have."""

    name: str
    limit_nano_usd: int | None
    """None: more than can be spent."""
    spend_nano_usd: int
    """What the window begins with."""
    duration: str | None
    resets_at: datetime | None
    """None: never, or at the end of the period that begins with the first call."""


class BudgetsOfKind(msgspec.Struct, frozen=True, kw_only=True):
    """Of all keys, of all users …"""

    kind: str
    count: int
    spend_nano_usd: int
    used_up: int
    begin_anew: int
    """Their period has ended, and LiteLLM had not set them back."""
    most_used: list[BudgetLine]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What is there, and what taking it over will do."""

    database: str
    schema: str
    server: str
    """The server's version."""
    litellm_migration: str | None
    """The last that LiteLLM applied; None: it does not say."""
    tables: list[TableRows]
    missing_tables: list[str]
    """LiteLLM's tables that are not there, and are going to be made."""
    unknown_columns: dict[str, list[str]]
    has_helpers: bool
    missing_views: list[str]
    """LiteLLM's views that are not there: it makes them at its start, where its log is empty."""
    keys: KeyCounts
    budgets: list[BudgetsOfKind]
    attention: list[str]
    """What works, and somebody should look at."""
    in_use: list[str]
    """Signs that LiteLLM, or another program, works on it now."""

    def as_json_object(self) -> dict[str, object]:
        """For programs; money in US dollars, as decimal strings."""
        return {
            "database": self.database,
            "schema": self.schema,
            "server_version": self.server,
            "litellm_migration": self.litellm_migration,
            "tables": [
                {"name": t.name, "rows": t.rows, "exact": t.exact, "spend_usd": _usd(t.spend_nano_usd)}
                for t in self.tables
            ],
            "missing_tables": self.missing_tables,
            "unknown_columns": self.unknown_columns,
            "has_sql_helpers": self.has_helpers,
            "missing_views": self.missing_views,
            "keys": self.keys,
            "budgets": [
                {
                    "kind": kind.kind,
                    "count": kind.count,
                    "spend_usd": _usd(kind.spend_nano_usd),
                    "used_up": kind.used_up,
                    "begin_anew": kind.begin_anew,
                    "most_used": [
                        {
                            "name": line.name,
                            "limit_usd": _usd(line.limit_nano_usd),
                            "spend_usd": _usd(line.spend_nano_usd),
                            "duration": line.duration,
                            "resets_at": line.resets_at,
                        }
                        for line in kind.most_used
                    ],
                }
                for kind in self.budgets
            ],
            "attention": self.attention,
            "in_use": self.in_use,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"LiteLLM's database {self.database}, schema {self.schema}, PostgreSQL {self.server}"
        yield f"Its last migration: {self.litellm_migration or 'not recorded'}"
        yield ""
        yield f"Tables ({len(self.tables)} found)"
        for table in self.tables:
            if table.rows or table.exact:
                yield _row(table)
        for name, columns in self.unknown_columns.items():
            yield f"  columns of {name} that Bursar does not know, and leaves alone: {', '.join(columns)}"
        yield ""
        keys = self.keys
        yield f"Keys: {keys.total:,}; {keys.usable:,} usable, {keys.blocked:,} blocked, {keys.expired:,} expired"
        yield ""
        yield "Budgets go on from LiteLLM's counters"
        for kind in self.budgets:
            yield from _budget_lines(kind)
        if not self.budgets:
            yield "  there are none"
        yield ""
        yield "What is going to be made"
        yield "  the schema bursar, with Bursar's own tables"
        for name in self.missing_tables:
            yield f"  {self.schema}.{name}, which is missing"
        yield "  Nothing of LiteLLM's is dropped, altered or rewritten."
        if not self.has_helpers:
            yield "  With --with-sql-helpers also round(double precision, integer), which published queries use."
        for name in self.missing_views:
            yield f"  With --with-sql-helpers also the view {self.schema}.{name}, which is missing"
        for title, lines in (("Look at this", self.attention), ("It is in use", self.in_use)):
            if lines:
                yield ""
                yield title
                yield from (f"  {line}" for line in lines)
        if self.in_use:
            yield "  Stop LiteLLM before --apply: what it books afterwards, the budgets do not know of."


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """How taking over a LiteLLM proxy's database came out, or would."""

    inspection: Inspection | None
    """What was found; None: it had been taken over before."""
    at: datetime | None
    """When it was taken over; None: it is not yet."""
    changed: bool
    """Something was made just now."""

    def as_text(self) -> str:
        """For people."""
        found = [] if self.inspection is None else [*self.inspection.lines(), ""]
        return "\n".join((*found, self._outcome()))

    def as_json(self) -> str:
        """For programs."""
        outcome = {
            "adopted_at": self.at,
            "changed": self.changed,
            "found": None if self.inspection is None else self.inspection.as_json_object(),
        }
        return msgspec.json.format(msgspec.json.encode(outcome)).decode()

    def _outcome(self) -> str:
        if self.at is None:
            return "It can be adopted. Nothing was changed: `bursar db adopt --apply` does it."
        if self.inspection is not None and self.changed:
            return "Adopted: `bursar serve` works on it."
        if self.inspection is not None:
            return (
                f"It was adopted at {self.at:%Y-%m-%d %H:%M:%S} UTC, and can be again. Nothing was changed: "
                "`bursar db adopt --again --apply` does it."
            )
        made = "The SQL helpers were made." if self.changed else "Nothing was changed."
        return f"It was adopted at {self.at:%Y-%m-%d %H:%M:%S} UTC. {made}"


def _row(table: TableRows) -> str:
    count = f"{table.rows:,}" if table.exact else f"about {table.rows:,}"
    spend = "" if table.spend_nano_usd is None else f"  {usd_text(table.spend_nano_usd)} USD"
    return f"  {table.name:<36} {count:>14} rows{spend}"


def _budget_lines(kind: BudgetsOfKind) -> Iterator[str]:
    title = f"  {kind.kind.replace('_', ' ')}: {kind.count:,}, spent {usd_text(kind.spend_nano_usd)} USD, "
    yield f"{title}{kind.used_up:,} used up, {kind.begin_anew:,} begin anew"
    for line in kind.most_used:
        limit = "any" if line.limit_nano_usd is None else usd_text(line.limit_nano_usd)
        yield f"    {line.name[:40]:<40} {usd_text(line.spend_nano_usd)} of {limit} USD, {_period(line)}"
    if kind.count > len(kind.most_used):
        yield f"    and {kind.count - len(kind.most_used):,} more"


def _period(line: BudgetLine) -> str:
    if line.resets_at is not None:
        return f"until {line.resets_at:%Y-%m-%d %H:%M} UTC"
    return "of all time" if line.duration is None else f"each {line.duration}, from the first call on"


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)
