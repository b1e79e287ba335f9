"""No key gets more than the one that bounds it."""

from datetime import UTC, datetime

import pytest

from bursar.domain.errors import Forbidden
from bursar.domain.ids import KeyHash
from bursar.domain.key_bounds import bounding, bounds_of, check_within, filled, for_calls_only
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind
from bursar.domain.money import NanoUsd
from bursar.domain.principals import DASHBOARD_TEAM, Principal, Role

JUNE, JULY = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def caller(**facts: object) -> Principal:
    return Principal(role=Role.INTERNAL_USER, api_key=KeyHash("h"), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "bound", "fits"),
    [
        ({"models": ["a"]}, {"models": []}, True),
        ({"models": []}, {"models": ["a"]}, False),
        ({"models": ["a", "openai/x"]}, {"models": ["a", "openai/*"]}, True),
        ({"models": ["openai/*"]}, {"models": ["openai/*"]}, True),
        ({"models": ["open*"]}, {"models": ["openai/*"]}, False),
        ({"models": ["*"]}, {"models": ["openai/*"]}, False),
        ({"models": ["a"]}, {"models": ["*"]}, True),
        ({"allowed_routes": []}, {"allowed_routes": ["llm_api_routes"]}, False),
        ({"allowed_routes": ["/key/info"]}, {"allowed_routes": ["/key/*"]}, True),
        ({"allowed_routes": ["/key/*"]}, {"allowed_routes": ["/key/info"]}, False),
        ({"allowed_routes": ["/*"]}, {"allowed_routes": ["/key/*"]}, False),
        ({"allowed_routes": ["info_routes"]}, {"allowed_routes": ["management_routes"]}, True),
        ({"allowed_routes": ["management_routes"]}, {"allowed_routes": ["info_routes"]}, False),
        ({"max_budget": 5}, {"max_budget": 5.0}, True),
        ({"max_budget": 5.1}, {"max_budget": 5}, False),
        ({"max_budget": float("nan")}, {"max_budget": 5}, False),
        ({"max_budget": None}, {"max_budget": 5}, False),
        ({"max_budget": 1}, {"max_budget": 0}, False),
        ({"rpm_limit": 1}, {"rpm_limit": None}, True),
        ({"budget_duration": "1d"}, {"max_budget": 5, "budget_duration": "30d"}, False),
        ({"budget_duration": None}, {"max_budget": 5, "budget_duration": "30d"}, True),
        ({"budget_duration": "1d"}, {"budget_duration": "30d"}, True),
        ({"expires": JULY}, {"expires": JUNE}, False),
        ({"expires": None}, {"expires": JUNE}, False),
        ({"expires": JUNE}, {"expires": JULY}, True),
        ({"team_id": "t"}, {"team_id": "t"}, True),
        ({"team_id": None}, {"team_id": "t"}, False),
        ({}, {"models": ["a"], "max_budget": 1, "expires": JUNE, "team_id": "t"}, True),
    ],
)
def test_what_fits(wanted: dict[str, object], bound: dict[str, object], fits: bool) -> None:
    if fits:
        check_within(wanted, bound, whose="it")
    else:
        with pytest.raises(Forbidden, match="more than it has"):
            check_within(wanted, bound, whose="it")


def test_what_a_key_bounds() -> None:
    limits = Limits(scope=Scope(ScopeKind.KEY, "h"), budget=Budget(NanoUsd(1), "30d"), parallel_calls=2)
    bound = bounds_of(
        caller(models=("a",), max_budget=5.0, limits=(limits,), expires_at_s=JUNE.timestamp(), team_id="t")
    )
    assert (bound["budget_duration"], bound["max_parallel_requests"], bound["expires"]) == ("30d", 2, JUNE)
    assert bounding(bound)
    child = filled({"max_budget": 1, "models": None}, bound)
    assert (child["max_budget"], child["models"], child["team_id"], child["expires"]) == (1, ["a"], "t", JUNE)


def test_a_login_and_a_key_without_limits_bound_nothing() -> None:
    assert not bounding(bounds_of(caller()))
    assert bounds_of(caller(team_id=DASHBOARD_TEAM, max_budget=1.0)) == {}
    assert bounding(bounds_of(caller(rpm_limit=0)))


@pytest.mark.parametrize(
    ("routes", "left"),
    [
        ([], ["llm_api_routes"]),
        (None, ["llm_api_routes"]),
        (["openai_routes"], ["openai_routes"]),
        (["llm_api_routes", "/key/generate"], ["llm_api_routes"]),
    ],
)
def test_keys_for_calls_alone(routes: object, left: list[str]) -> None:
    assert for_calls_only(routes) == left
