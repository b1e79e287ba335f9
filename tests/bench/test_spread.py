import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.spread import percentile, spread_of


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (99.1, 100.0), (100, 100.0)]
)
def test_percentiles_of_a_hundred(percent: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], percent) == expected


def test_percentiles_of_few() -> None:
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile([1.0, 2.0, 30.0], 99) == 30.0


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    needed = len(ordered) * percent / 100
    assert sum(value <= found for value in ordered) >= needed - 1e-6
    assert sum(value < found for value in ordered) < needed + 1e-6


def test_the_spread_keeps_the_rounds() -> None:
    spread = spread_of([3.0, 1.0, 10.0])
    assert (spread.median, spread.least, spread.most, spread.rounds) == (3.0, 1.0, 10.0, [3.0, 1.0, 10.0])
