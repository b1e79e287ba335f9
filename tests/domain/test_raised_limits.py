"""Budgets that are raised for a while."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from bursar.domain.limits import Budget, Raise, raise_of
from bursar.domain.money import MAX_NANO_USD, NanoUsd

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC).timestamp()
CENT = NanoUsd(10_000_000)


@pytest.mark.parametrize(
    "until", ["2026-12-24 12:00", "2026-12-24T12:00:00Z", "2026-12-24T13:00:00.000+01:00", "2026-12-24T12:00:00.000"]
)
def test_an_end_in_any_words(until: str) -> None:
    assert raise_of({"temp_budget_increase": 0.01, "temp_budget_expiry": until}) == Raise(CENT, NOON)


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"temp_budget_increase": 1.0},
        {"temp_budget_increase": 1.0, "temp_budget_expiry": None},
        {"temp_budget_increase": 0, "temp_budget_expiry": "2026-12-24"},
        {"temp_budget_increase": float("nan"), "temp_budget_expiry": "2026-12-24"},
        {"temp_budget_increase": "1", "temp_budget_expiry": "2026-12-24"},
        {"temp_budget_increase": 1.0, "temp_budget_expiry": "24 December"},
    ],
)
def test_what_says_nothing(stated: Mapping[str, object]) -> None:
    assert raise_of(stated) is None


def test_it_ends_on_time_and_never_passes_all_there_is() -> None:
    budget = Budget(CENT, raised=Raise(CENT, NOON))
    assert [budget.limit_at(NOON + s) for s in (-0.001, 0.0)] == [2 * CENT, CENT]
    most = raise_of({"temp_budget_increase": float("inf"), "temp_budget_expiry": "2026-12-24"})
    assert Budget(CENT, raised=most).limit_at(0) <= MAX_NANO_USD
    assert Budget(MAX_NANO_USD, raised=most).limit_at(0) == MAX_NANO_USD
