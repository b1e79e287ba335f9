"""Percentiles of latencies, and the middle and the spread of a figure that was measured several times."""

import math
from collections.abc import Sequence
from statistics import median

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """One figure over the rounds of a run."""

    median: float
    least: float
    most: float
    rounds: list[float]
    """In the order they were measured."""


def spread_of(values: Sequence[float]) -> Spread:
    """`values`, of which there is at least one."""
    return Spread(median(values), min(values), max(values), list(values))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least of the `ordered` values (ascending, at least one) that `percent` of them do not exceed.

    This is the nearest rank: always a value that was measured, never one between two.
    """
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]
