"""A new user gets no more than what bounds whoever makes him."""

import pytest

from bursar.domain.user_bounds import narrowest


def test_the_least_of_each_counts() -> None:
    organization = {"max_budget": 100.0, "budget_duration": "30d", "rpm_limit": 10, "tpm_limit": None, "models": []}
    maker = {"max_budget": 5.0, "budget_duration": None, "rpm_limit": 20, "max_parallel_requests": 0, "models": ["a"]}
    least = {"max_budget": 5.0, "budget_duration": None, "rpm_limit": 10, "max_parallel_requests": 0, "models": ["a"]}
    assert narrowest([organization, maker]) == narrowest([maker, organization]) == least


def test_single_models() -> None:
    organization = {
        "model_max_budget": {"a": {"budget_limit": 5, "time_period": "1d"}, "b": {"max_budget": 1, "rpm_limit": 9}},
        "metadata": {"model_rpm_limit": {"b": 3, "c": 4}, "tags": ["x"]},
    }
    maker = {"model_max_budget": {"a": {"max_budget": 2.5, "budget_duration": "7d", "tpm_limit": 0}, "b": {}, "d": 5}}
    assert narrowest([organization, maker])["model_max_budget"] == {
        "a": {"budget_limit": 2.5, "time_period": "7d", "tpm_limit": 0},
        "b": {"budget_limit": 1, "time_period": None, "rpm_limit": 3},
        "c": {"rpm_limit": 4},
    }
    assert narrowest([maker, organization]) == narrowest([organization, maker])


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
