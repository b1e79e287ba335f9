"""Limits as they are stated."""

from datetime import UTC, datetime

import pytest

from bursar.domain.errors import InvalidRequest
from bursar.domain.limit_terms import terms_after, terms_by_name
from bursar.domain.periods import Calendar

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 6, tzinfo=UTC)
MONTH = datetime(2026, 4, 1, tzinfo=UTC)


def after(before: dict[str, object], **changes: object) -> dict[str, object]:
    return terms_after(before, changes, now=NOW, calendar=Calendar())


def test_what_is_not_said_stays() -> None:
    assert after({"max_budget": 1.0, "budget_duration": "1d"}) == {}
    assert after({"max_budget": 1.0}, rpm_limit=None) == {"rpm_limit": None}


@pytest.mark.parametrize(
    ("before", "changes", "ends"),
    [
        ({}, {"budget_duration": "1d"}, MIDNIGHT),
        ({"budget_duration": "1d", "budget_reset_at": MONTH}, {"budget_duration": "1mo"}, MONTH),
        ({"budget_duration": "1d", "budget_reset_at": None}, {"budget_duration": "1d"}, MIDNIGHT),
        ({"budget_duration": "1d", "budget_reset_at": MONTH}, {"budget_duration": None}, None),
        ({"budget_duration": "1d", "budget_reset_at": MONTH}, {"budget_duration": ""}, None),
        ({}, {"budget_duration": "1d", "budget_reset_at": MONTH}, MONTH),
    ],
)
def test_the_period_ends_where_its_length_says(
    before: dict[str, object], changes: dict[str, object], ends: datetime | None
) -> None:
    assert after(before, **changes)["budget_reset_at"] == ends


def test_a_period_of_the_same_length_goes_on() -> None:
    assert after({"budget_duration": "1d", "budget_reset_at": MONTH}, budget_duration="1d") == {"budget_duration": "1d"}


def test_an_empty_duration_is_none() -> None:
    assert after({}, budget_duration="")["budget_duration"] is None


@pytest.mark.parametrize(
    ("before", "changes", "param"),
    [
        ({}, {"max_budget": -0.01}, "max_budget"),
        ({}, {"soft_budget": -1}, "soft_budget"),
        ({}, {"max_budget": 1.0, "soft_budget": 1.0}, "soft_budget"),
        ({"max_budget": 1.0}, {"soft_budget": 2.0}, "soft_budget"),
        ({"soft_budget": 1.0}, {"max_budget": 0.5}, "soft_budget"),
        ({}, {"budget_duration": "soon"}, "budget_duration"),
        ({}, {"budget_duration": "0d"}, "budget_duration"),
        ({}, {"temp_budget_increase": 1.0}, "temp_budget_increase"),
        ({}, {"max_budget": 9.3e9}, "max_budget"),
        ({}, {"max_budget": 1e18}, "max_budget"),
        ({}, {"soft_budget": float("inf")}, "soft_budget"),
        ({}, {"max_budget": float("nan")}, "max_budget"),
        *(
            ({}, {"model_max_budget": {"gpt-4o": terms}}, "model_max_budget")
            for terms in (
                {"budget_limit": "5"},
                {"budget_limit": True},
                {"budget_limit": [0]},
                {"max_budget": "x"},
                {"budget_limit": 1e18},
                {"limit": 0},
                {"rpm_limit": "10"},
                {"rpm_limit": -1},
            )
        ),
        ({}, {"metadata": {"model_rpm_limit": {"gpt-4o": "0"}}}, "model_rpm_limit"),
        ({}, {"metadata": {"model_rpm_limit": 5}}, "model_rpm_limit"),
        ({}, {"metadata": {"model_tpm_limit": {"gpt-4o": True}}}, "model_tpm_limit"),
        ({}, {"metadata": {"tag_rpm_limit": {"nightly": "9"}}}, "tag_rpm_limit"),
        ({}, {"temp_budget_expiry": NOW}, "temp_budget_increase"),
        ({}, {"model_max_budget": {"m": 5}}, "model_max_budget"),
        ({}, {"model_max_budget": {"m": {"budget_limit": -5}}}, "model_max_budget"),
        ({}, {"model_max_budget": {"m": {"time_period": "soon"}}}, "model_max_budget"),
    ],
)
def test_what_cannot_be(before: dict[str, object], changes: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        after(before, **changes)
    assert told.value.param == param


def test_what_can_be() -> None:
    models = {"m": {"budget_limit": 5, "time_period": "1d"}}
    changes = {"max_budget": 0, "soft_budget": None, "model_max_budget": models}
    assert after({}, **changes) == changes
    assert after({"max_budget": 1.0, "soft_budget": 2.0}, rpm_limit=1) == {"rpm_limit": 1}, "an old quarrel is not ours"


def test_what_limits_single_models() -> None:
    models = {"gpt-4o": {"budget_limit": 5, "time_period": "1d", "rpm_limit": 3}, "gpt-4o-mini": {"max_budget": 0.5}}
    metadata = {"model_rpm_limit": {"gpt-4o": 10}, "model_tpm_limit": None, "note": "anything"}
    changes = {"model_max_budget": models, "metadata": metadata, "max_budget": 9.2e9}
    assert after({}, **changes) == changes


@pytest.mark.parametrize(
    ("stated", "beside", "lower"),
    [(3, 9, 3), (9, 3, 3), (3, None, 3), (None, 9, 9), ("3", 9, 9), (3, "9", 3), (0, 9, 0)],
)
def test_of_two_rates_of_a_model_the_lower_counts(stated: object, beside: object, lower: int) -> None:
    terms = {"m": {"budget_limit": 1, "rpm_limit": stated}}
    assert terms_by_name(terms, {"model_rpm_limit": {"m": beside}}, "model")["m"] == {
        "budget_limit": 1,
        "rpm_limit": lower,
    }
