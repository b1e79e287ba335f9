"""Which deployment serves a call, and what a wildcard stands for."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.routing import by_specificity, shuffle, wildcard_target


@dataclass(frozen=True)
class Candidate:
    """What the choice looks at."""

    name: str
    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None


def shares(*candidates: Candidate) -> dict[str, int]:
    """How often each is chosen, by 1000 draws evenly spread."""
    return Counter(shuffle(candidates, draw=draw / 1000).name for draw in range(1000))


A, B, C = Candidate("a"), Candidate("b"), Candidate("c")


def test_all_alike() -> None:
    assert shares(A, B) == {"a": 500, "b": 500}
    assert shares(A) == {"a": 1000}


def test_by_weight() -> None:
    assert shares(Candidate("a", weight=3), Candidate("b", weight=1)) == {"a": 750, "b": 250}
    assert shares(Candidate("a", weight=0.5), Candidate("b", weight=0.5)) == {"a": 500, "b": 500}


def test_who_has_no_weight_is_not_chosen_where_others_have_one() -> None:
    assert shares(Candidate("a", weight=1), B) == {"a": 1000}
    assert shares(Candidate("a", weight=1), Candidate("b", weight=0, rpm=100)) == {"a": 1000}


def test_weight_then_rpm_then_tpm() -> None:
    one, other = Candidate("a", rpm=10, tpm=900), Candidate("b", rpm=30, tpm=100)
    assert shares(one, other) == {"a": 250, "b": 750}
    assert shares(Candidate("a", tpm=900), Candidate("b", tpm=100)) == {"a": 900, "b": 100}
    assert shares(Candidate("a", weight=0, rpm=1), Candidate("b", weight=0, rpm=3)) == {"a": 250, "b": 750}


def test_all_weights_zero_are_no_weights() -> None:
    assert shares(Candidate("a", weight=0), Candidate("b", weight=0)) == {"a": 500, "b": 500}


@given(
    st.lists(st.floats(0, 1e9) | st.none(), min_size=1, max_size=6),
    st.floats(0, 1, exclude_max=True),
)
def test_somebody_is_always_chosen_who_may_be(weights: list[float | None], draw: float) -> None:
    candidates = [Candidate(str(number), weight=weight) for number, weight in enumerate(weights)]
    chosen = shuffle(candidates, draw=draw)
    assert chosen in candidates
    if len(candidates) > 1 and any(weights):
        assert chosen.weight


@pytest.mark.parametrize(
    ("pattern", "name", "target", "upstream"),
    [
        ("openai/*", "openai/gpt-4o", "openai/*", "openai/gpt-4o"),
        ("*", "gpt-4o", "openai/*", "openai/gpt-4o"),
        ("team/*", "team/a/b", "openai/*", "openai/a/b"),
        ("*-fast", "gpt-fast", "openai/*-mini", "openai/gpt-mini"),
        ("a*b", "ab", "x*", "x"),
        ("team/*", "team/anything", "openai/gpt-4o", "openai/gpt-4o"),
        ("*/*", "a/b", "openai/*", "openai/a/b"),
        ("a/*", "a/b*c", "openai/*", "openai/b*c"),
    ],
)
def test_what_a_star_stands_for(pattern: str, name: str, target: str, upstream: str) -> None:
    assert wildcard_target(pattern, name, target) == upstream


def test_the_most_specific_pattern_comes_first() -> None:
    patterns = ["*", "openai/*", "openai/gpt-*", "*/*", "openai/gpt-4*", "a*c", "abc"]
    assert by_specificity(patterns) == ["openai/gpt-4*", "openai/gpt-*", "openai/*", "abc", "a*c", "*/*", "*"]
