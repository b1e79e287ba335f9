"""A team gets no more than its organization has; from its own admins, no more than it had."""

import pytest

from bursar.domain.errors import Forbidden, InvalidRequest
from bursar.domain.team_bounds import check_not_raised, check_within_organization

ORGANIZATION = {"organization_id": "o", "max_budget": 10.0, "rpm_limit": 100, "models": ["gpt-4o", "openai/*"]}


@pytest.mark.parametrize(
    "team",
    [
        {},
        {"max_budget": 10.0, "rpm_limit": 100},
        {"max_budget": None, "tpm_limit": 10**9},
        {"models": []},
        {"models": ["gpt-4o", "openai/o1", "openai/*"]},
    ],
)
def test_within(team: dict[str, object]) -> None:
    check_within_organization(team, ORGANIZATION)


@pytest.mark.parametrize(
    ("team", "param"),
    [
        ({"max_budget": 10.01}, "max_budget"),
        ({"rpm_limit": 101}, "rpm_limit"),
        ({"models": ["claude"]}, "models"),
        ({"models": ["gpt-4o", "*"]}, "models"),
        ({"models": ["all-proxy-models"]}, "models"),
    ],
)
def test_beyond(team: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        check_within_organization(team, ORGANIZATION)
    assert told.value.param == param
    assert "Organization=o" in told.value.message


def test_an_organization_without_limits_bounds_nothing() -> None:
    check_within_organization({"max_budget": 1e9, "models": ["*"]}, {"organization_id": "o", "models": []})


BEFORE = {"max_budget": 5.0, "rpm_limit": None, "models": ["gpt-4o"], "budget_duration": "1d"}


@pytest.mark.parametrize(
    "changes", [{}, {"max_budget": 4.0}, {"rpm_limit": 7}, {"models": ["gpt-4o"]}, {"team_alias": "x"}]
)
def test_not_raised(changes: dict[str, object]) -> None:
    check_not_raised(BEFORE, BEFORE | changes)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"max_budget": 5.01}, "max_budget"),
        ({"max_budget": None}, "max_budget"),
        ({"budget_duration": "1h"}, "budget_duration"),
        ({"budget_reset_at": "tomorrow"}, "budget_reset_at"),
        ({"models": ["gpt-4o", "o1"]}, "models"),
        ({"models": []}, "models"),
        ({"models": None}, "models"),
        ({"models": ["*"]}, "models"),
    ],
)
def test_raised(changes: dict[str, object], param: str) -> None:
    with pytest.raises(Forbidden) as told:
        check_not_raised(BEFORE, BEFORE | changes)
    assert told.value.param == param


METADATA = {"model_rpm_limit": {"gpt-4o": 5}, "tag_tpm_limit": {"t": 0}, "guardrails": ["g"]}


@pytest.mark.parametrize(
    "changes",
    [{}, {"model_rpm_limit": {"gpt-4o": 4, "o1": 9}}, {"guardrails": ["g", "h"]}, {"model_tpm_limit": {"gpt-4o": 1}}],
)
def test_metadata_that_bounds_as_much(changes: dict[str, object]) -> None:
    check_not_raised({"metadata": METADATA}, {"metadata": METADATA | changes})


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model_rpm_limit": {"gpt-4o": 6}}, "model_rpm_limit"),
        ({"model_rpm_limit": {"o1": 1}}, "model_rpm_limit"),
        ({"model_rpm_limit": None}, "model_rpm_limit"),
        ({"tag_tpm_limit": {"t": 1}}, "tag_tpm_limit"),
        ({"guardrails": []}, "guardrails"),
    ],
)
def test_metadata_that_bounds_less(changes: dict[str, object], param: str) -> None:
    with pytest.raises(Forbidden) as told:
        check_not_raised({"metadata": METADATA}, {"metadata": METADATA | changes})
    assert told.value.param == param


@pytest.mark.parametrize(
    ("before", "after"),
    [({"tpd_limit": 5}, {"tpd_limit": None}), ({"model_max_budget": {"a": {"budget_limit": 1}}}, {})],
)
def test_columns_that_bound_less(before: dict[str, object], after: dict[str, object]) -> None:
    with pytest.raises(Forbidden):
        check_not_raised(before, after)


def test_what_the_whole_has_may_be_used() -> None:
    check_not_raised(BEFORE, BEFORE | {"max_budget": 9.0, "models": ["gpt-4o", "openai/o1"]}, bound=ORGANIZATION)
    with pytest.raises(Forbidden):
        check_not_raised(BEFORE, BEFORE | {"models": ["claude"]}, bound=ORGANIZATION)
    with pytest.raises(Forbidden):
        check_not_raised(BEFORE | {"tpm_limit": 1}, BEFORE | {"tpm_limit": 2}, bound=ORGANIZATION)
