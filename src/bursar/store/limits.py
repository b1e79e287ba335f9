"""Limits as LiteLLM's tables hold them: in columns of the row itself, or in the budget that the row names."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeGuard

import msgspec

from bursar.domain.limit_terms import terms_by_name
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind, key_tag_scope, model_scope
from bursar.domain.money import MAX_NANO_USD, NANO_PER_USD, NanoUsd
from bursar.ports.limits import AnyLimits, NamedLimits
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

Row = Mapping[str, Any]
_SQL = load_named_sql("limits")


class PostgresLimits:
    """Limits of end users and tags: implements `ports.limits.LimitStore`."""

    def __init__(self, database: Database, *, default_budget_id: str | None = None) -> None:
        """`default_budget_id`: the budget of end users that have none of their own."""
        self._database = database
        self._default_budget_id = default_budget_id

    async def any(self) -> AnyLimits:
        """See `ports.limits.LimitStore.any`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["any"])
            default = None
            if self._default_budget_id is not None:
                default = await connection.fetchrow(_SQL["default_budget"], self._default_budget_id)
        scope = Scope(ScopeKind.END_USER, "")
        return AnyLimits(
            end_users=row["end_users"],
            tags=row["tags"],
            default=None if default is None else limits_of(default, scope),
        )

    async def find(self, end_users: Sequence[str], tags: Sequence[str]) -> dict[Scope, NamedLimits]:
        """See `ports.limits.LimitStore.find`."""
        found: dict[Scope, NamedLimits] = {}
        async with self._database.connection() as connection:
            if end_users:
                rows = await connection.fetch(_SQL["end_users"], list(end_users), self._default_budget_id)
                found |= _named(rows, ScopeKind.END_USER)
            if tags:
                found |= _named(await connection.fetch(_SQL["tags"], list(tags)), ScopeKind.TAG)
        return found


def _named(rows: Sequence[Row], kind: ScopeKind) -> dict[Scope, NamedLimits]:
    scopes = [Scope(kind, row["id"]) for row in rows]
    return {
        scope: NamedLimits(limits_of(row, scope), blocked=row["blocked"], by_default=row["by_default"])
        for scope, row in zip(scopes, rows, strict=True)
    }


def limits_of(
    row: Row, scope: Scope, *, prefix: str = "", name: str = "", metadata: Mapping[str, object] | None = None
) -> Limits | None:
    """The limits of `scope` in the columns `<prefix>max_budget`, `<prefix>rpm_limit` …, and what its `metadata` says of
    single models. None: it has none."""
    found = Limits(
        scope=scope,
        name=name,
        budget=_budget(row[f"{prefix}max_budget"], row[f"{prefix}budget_duration"], row[f"{prefix}budget_reset_at"]),
        soft_budget=nano_of(row[f"{prefix}soft_budget"]),
        requests_per_minute=row[f"{prefix}rpm_limit"],
        tokens_per_minute=row[f"{prefix}tpm_limit"],
        parallel_calls=row[f"{prefix}max_parallel_requests"],
        models=model_limits(scope, row[f"{prefix}model_max_budget"], metadata or {}) or None,
    )
    return found if found.limiting else None


def model_limits(whose: Scope, model_max_budget: str | None, metadata: Mapping[str, object]) -> dict[str, Limits]:
    """What a key, a team … may do with single models, by the name its limits give.

    `model_max_budget`: `{"gpt-4o": {"budget_limit": 5.0, "time_period": "1d", "rpm_limit": 10, "tpm_limit": 1000}}` in
    JSON, or LiteLLM's other words for the first two, `max_budget` and `budget_duration`. `metadata` may hold
    `model_rpm_limit` and `model_tpm_limit`: `{"gpt-4o": 10}`. Entries that are none of this say nothing.
    """
    terms = terms_by_name(msgspec.json.decode(model_max_budget or "{}"), metadata, "model")
    return _limits_by_name(partial(model_scope, whose), terms)


def tag_limits(token: str, metadata: Mapping[str, object]) -> dict[str, Limits]:
    """What a key may do with single tags, by its `tag_rpm_limit` and `tag_tpm_limit`: `{"nightly": 10}`."""
    return _limits_by_name(partial(key_tag_scope, token), terms_by_name(None, metadata, "tag"))


def _limits_by_name(scope_of: Callable[[str], Scope], terms: Mapping[str, Mapping[str, object]]) -> dict[str, Limits]:
    found = {name: _stated_limits(scope_of(name), entry) for name, entry in terms.items()}
    return {name: limits for name, limits in found.items() if limits.limiting}


def period_limits(scope_of: Callable[[str], Scope], stated: object) -> list[Limits]:
    """Several budgets at once, `[{"budget_duration": "1d", "max_budget": 5}]`; `scope_of` says whose is that of a
    duration. Of two for the same the smaller counts. Entries that are none of this say nothing."""
    found: dict[str, NanoUsd] = {}
    for entry in stated if isinstance(stated, list) else ():
        if not isinstance(entry, dict):
            continue
        amount, duration = entry.get("max_budget"), entry.get("budget_duration")
        limit = nano_of(float(amount)) if _is_number(amount) else None
        if limit is not None and isinstance(duration, str):
            found[duration] = min(limit, found.get(duration, limit))
    return [Limits(scope=scope_of(duration), budget=Budget(limit, duration)) for duration, limit in found.items()]


def _stated_limits(scope: Scope, entry: Mapping[str, object]) -> Limits:
    amount, period = (
        entry.get("budget_limit", entry.get("max_budget")),
        entry.get("time_period", entry.get("budget_duration")),
    )
    limit = nano_of(float(amount)) if _is_number(amount) else None
    return Limits(
        scope=scope,
        budget=None if limit is None else Budget(limit, period if isinstance(period, str) else None),
        requests_per_minute=_count(entry.get("rpm_limit")),
        tokens_per_minute=_count(entry.get("tpm_limit")),
    )


_HIGHEST_COUNT = 10**15


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: object) -> int | None:
    """A whole number; what is no number, or more than every number, is no limit."""
    if not _is_number(value) or not -_HIGHEST_COUNT < value < _HIGHEST_COUNT:
        return None
    return int(value)


def nano_of(usd: float | None) -> NanoUsd | None:
    """Dollars of a column, to the nearest nano-dollar; None stays None.

    What the column holds beyond nine billion dollars, infinity included, is no limit. NaN limits everything.
    """
    if usd is None or usd * NANO_PER_USD > MAX_NANO_USD:
        return None
    return NanoUsd(round(usd * NANO_PER_USD)) if usd == usd and usd > 0 else NanoUsd(0)


def utc_s(moment: datetime | None) -> float | None:
    """Seconds since 1970 of a column, whose times are UTC without a zone."""
    return None if moment is None else moment.replace(tzinfo=UTC).timestamp()


def _budget(max_budget: float | None, duration: str | None, reset_at: datetime | None) -> Budget | None:
    limit = nano_of(max_budget)
    return None if limit is None else Budget(limit, duration or None, utc_s(reset_at))
