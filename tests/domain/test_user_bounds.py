"""A new user gets no more than what bounds whoever makes him."""

import pytest

from bursar.domain.user_bounds import narrowest


def test_the_least_of_each_counts() -> None:
    organization = {"max_budget": 100.0, "budget_duration": "30d", "rpm_limit": 10, "tpm_limit": None, "models": []}
    maker = {"max_budget": 5.0, "budget_duration": None, "rpm_limit": 20, "max_parallel_requests": 0, "models": ["a"]}
    least = {"max_budget": 5.0, "budget_duration": None, "rpm_limit": 10, "max_parallel_requests": 0, "models": ["a"]}
    assert narrowest([organization, maker]) == narrowest([maker, organization]) == least


def test_where_nothing_bounds() -> None:
    assert narrowest([]) == narrowest([{"max_budget": None, "models": []}]) == {}


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (["a", "b"], ["b", "c"], ["b"]),
        (["a", "openai/*"], ["openai/x", "*"], ["openai/x", "a", "openai/*"]),
        (["openai/*"], ["openai/x"], ["openai/x"]),
        (["all-proxy-models"], ["a"], ["a"]),
        (["a"], ["b"], ["no-default-models"]),
    ],
)
def test_models_that_both_may_call(one: list[str], other: list[str], both: list[str]) -> None:
    assert narrowest([{"models": one}, {"models": other}])["models"] == both
