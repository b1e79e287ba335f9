"""Limits as somebody states them for a row: what is allowed, and what follows for when the budget's period ends.

Rows are those of LiteLLM's tables, by column name; money in US dollars.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeGuard

from bursar.domain.errors import InvalidRequest
from bursar.domain.misspellings import slip_among
from bursar.domain.periods import Calendar, checked_duration, next_reset

Row = Mapping[str, object]

BUDGET_COLUMNS = (
    "max_budget",
    "soft_budget",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "budget_duration",
    "model_max_budget",
    "budget_reset_at",
    "allowed_models",
    "temp_budget_increase",
    "temp_budget_expiry",
)
"""Of `LiteLLM_BudgetTable`: what people state."""

_AMOUNTS = ("max_budget", "soft_budget", "temp_budget_increase")
_MODEL_AMOUNTS = ("budget_limit", "max_budget")
_MODEL_PERIODS = ("time_period", "budget_duration")
_MODEL_COUNTS = ("rpm_limit", "tpm_limit")
_OF_A_MODEL = (*_MODEL_AMOUNTS, *_MODEL_PERIODS, *_MODEL_COUNTS)
_COUNTS_BY_NAME = ("model_rpm_limit", "model_tpm_limit", "tag_rpm_limit", "tag_tpm_limit")
"""In the metadata, by the name of a model or a tag."""
_MOST_USD = 9.2e9
"""More is no limit to the books, whose amounts are nano-dollars in 64 bits."""


def terms_after(before: Row, changes: Row, *, now: datetime, calendar: Calendar) -> dict[str, object]:
    """`changes` of a row that was `before`, and the end of the period where its length changes.

    Raises InvalidRequest: an amount that is negative or beyond what the books can hold, a soft budget not below the
    hard one, a period that is none or stands for two budgets, a limit of a model that is no number.
    """
    for name in _AMOUNTS:
        check_amount(changes.get(name), name)
    _check_models(changes.get("model_max_budget"))
    _check_counts(changes.get("metadata"))
    _check_periods(changes.get("budget_limits"))
    after = {**before, **changes}
    soft, hard = after.get("soft_budget"), after.get("max_budget")
    if {"soft_budget", "max_budget"} & changes.keys() and _is_number(soft) and _is_number(hard) and soft >= hard:
        raise InvalidRequest(f"soft_budget ({soft}) must be lower than max_budget ({hard})", param="soft_budget")
    if ("temp_budget_increase" in changes) != ("temp_budget_expiry" in changes):
        raise InvalidRequest("temp_budget_increase and temp_budget_expiry go together.", param="temp_budget_increase")
    found = dict(changes)
    duration = changes.get("budget_duration")
    if duration == "":
        found["budget_duration"] = duration = None
    if isinstance(duration, str):
        ends = next_reset(duration, now, calendar)  # also where it stays the same: it is what the caller asks for
        if duration != before.get("budget_duration") or before.get("budget_reset_at") is None:
            found.setdefault("budget_reset_at", ends)
    elif "budget_duration" in changes:
        found.setdefault("budget_reset_at", None)
    return found


def terms_by_name(stated: object, metadata: Row, what: str) -> dict[str, dict[str, object]]:
    """What a row says of single models or tags, by name: the entries of its `model_max_budget`, and the rates that its
    metadata has as `<what>_rpm_limit` and `<what>_tpm_limit`. Of two rates the lower counts: not everybody who may
    state the one may raise the other. What is no object says nothing."""
    entries = stated.items() if isinstance(stated, Mapping) else ()
    found = {str(name): dict(terms) for name, terms in entries if isinstance(terms, Mapping)}
    for kind in _MODEL_COUNTS:
        counts = metadata.get(f"{what}_{kind}")
        if isinstance(counts, Mapping):
            for name, count in counts.items():
                terms = found.setdefault(str(name), {})
                stated_too = terms.get(kind)
                if _is_number(count) and not (_is_number(stated_too) and stated_too <= count):
                    terms[kind] = count
    return found


def _check_models(models: object) -> None:
    if not isinstance(models, Mapping):
        return
    said = (name for terms in models.values() if isinstance(terms, Mapping) for name in terms)
    if (slip := slip_among(said, _OF_A_MODEL)) is not None:
        raise InvalidRequest(f"model_max_budget: {slip[0]}: did you mean {slip[1]}?", param="model_max_budget")
    for model, terms in models.items():
        if not isinstance(terms, Mapping):
            raise InvalidRequest(
                f"model_max_budget of {model!r} must be an object such as "
                '{"budget_limit": 5.0, "time_period": "1d"}.',
                param="model_max_budget",
            )
        if terms and not terms.keys() & {*_MODEL_AMOUNTS, *_MODEL_COUNTS}:
            raise InvalidRequest(
                f"model_max_budget of {model!r} limits nothing: it names none of budget_limit, rpm_limit, tpm_limit.",
                param="model_max_budget",
            )
        for name in (*_MODEL_AMOUNTS, *_MODEL_COUNTS):
            if not _is_limit(amount := terms.get(name)):
                raise InvalidRequest(f"{name} of {model!r} must be a number.", param="model_max_budget")
            check_amount(amount, "model_max_budget")
        for name in _MODEL_PERIODS:
            if isinstance(period := terms.get(name), str):
                checked_duration(period, param="model_max_budget")


def _check_counts(metadata: object) -> None:
    """What it says of single models and tags. Raises InvalidRequest: that is not a number for each."""
    if not isinstance(metadata, Mapping):
        return
    for name in _COUNTS_BY_NAME:
        by_name = metadata.get(name)
        if by_name is None:
            continue
        if not isinstance(by_name, Mapping) or not all(map(_is_limit, by_name.values())):
            raise InvalidRequest(f'{name} must be an object of numbers such as {{"gpt-4o": 10}}.', param=name)


def _check_periods(limits: object) -> None:
    if not isinstance(limits, Sequence):
        return
    periods = []
    for one in limits:
        amount, period = (
            (one.get("max_budget"), one.get("budget_duration")) if isinstance(one, Mapping) else (None, None)
        )
        if not _is_number(amount) or not isinstance(period, str):
            raise InvalidRequest(
                'budget_limits holds objects such as {"budget_duration": "1d", "max_budget": 5}.', param="budget_limits"
            )
        check_amount(amount, "budget_limits")
        periods.append(checked_duration(period, param="budget_limits"))
    if len(set(periods)) < len(periods):
        raise InvalidRequest("budget_limits has two budgets for the same budget_duration.", param="budget_limits")


def check_amount(amount: object, name: str) -> None:
    """Raises InvalidRequest: it is a number below 0, or beyond what the books can hold."""
    if not _is_number(amount):
        return
    if amount < 0:
        raise InvalidRequest(f"{name} cannot be negative, but is {amount}.", param=name)
    if not amount <= _MOST_USD:
        raise InvalidRequest(f"{name} can be at most 9200000000.", param=name)


def _is_limit(value: object) -> bool:
    return value is None or _is_number(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
