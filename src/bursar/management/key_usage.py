"""`model_max_budget_usage` and `budget_limits_usage`: what is spent of the budgets that a key has beside its own."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from bursar.domain.errors import InvalidRequest
from bursar.domain.ids import KeyHash
from bursar.domain.limit_terms import terms_by_name
from bursar.domain.periods import Calendar, next_reset
from bursar.ports.keys import KeyAdministration, KeyRow


class _Period(msgspec.Struct, frozen=True):
    """A budget's, as it stands now."""

    name: str
    """Of a model; of the period itself, its duration."""
    limit: float
    """US dollars."""
    duration: str | None
    ends: datetime | None


async def usage_of(keys: KeyAdministration, row: KeyRow, *, now: datetime, calendar: Calendar) -> dict[str, object]:
    """The two of them, each only for a key that has such budgets; amounts in US dollars. Raises StoreUnavailable."""
    models = list(_models(row["model_max_budget"], now, calendar))
    periods = list(_periods(row["budget_limits"], now, calendar))
    if not models and not periods:
        return {}
    of_models, of_periods = await keys.spent_beside(
        KeyHash(str(row["token"])),
        models={one.name: one.ends for one in models},
        periods={one.name: one.ends for one in periods},
    )
    found: dict[str, object] = {}
    if models:
        found["model_max_budget_usage"] = {
            one.name: {
                "current_spend": of_models.get(one.name, 0.0),
                "budget_limit": one.limit,
                "time_period": one.duration,
                "budget_reset_at": one.ends,
            }
            for one in models
        }
    if periods:
        found["budget_limits_usage"] = {one.name: {"current_spend": of_periods.get(one.name, 0.0)} for one in periods}
    return found


def _models(stated: object, now: datetime, calendar: Calendar) -> Iterator[_Period]:
    for name, terms in terms_by_name(stated, {}, "model").items():
        yield from _period(
            name,
            terms.get("budget_limit", terms.get("max_budget")),
            terms.get("time_period", terms.get("budget_duration")),
            now,
            calendar,
        )


def _periods(stated: object, now: datetime, calendar: Calendar) -> Iterator[_Period]:
    for entry in stated if isinstance(stated, Sequence) else ():
        if isinstance(entry, Mapping) and isinstance(duration := entry.get("budget_duration"), str):
            yield from _period(duration, entry.get("max_budget"), duration, now, calendar)


def _period(name: str, limit: object, duration: object, now: datetime, calendar: Calendar) -> Iterator[_Period]:
    """One, unless what a database holds is no budget."""
    if not isinstance(limit, int | float):
        return
    if not isinstance(duration, str):
        yield _Period(name, limit, None, None)
        return
    try:
        ends = next_reset(duration, now, calendar)
    except InvalidRequest:
        return
    yield _Period(name, limit, duration, ends)
