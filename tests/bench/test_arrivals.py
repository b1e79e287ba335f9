import asyncio
import time
from itertools import pairwise
from statistics import mean, pstdev

import pytest

from bench.arrivals import PreciseTimer, poisson_arrivals


def test_arrivals_are_the_same_for_the_same_seed() -> None:
    def arrivals(seed: int) -> list[float]:
        return poisson_arrivals(rate_per_s=100, duration_s=1, seed=seed)

    assert arrivals(1) == arrivals(1) != arrivals(2)


def test_arrivals_are_as_many_and_as_irregular_as_they_should_be() -> None:
    arrivals = poisson_arrivals(rate_per_s=1000, duration_s=50, seed=3)
    assert arrivals == sorted(arrivals)
    assert arrivals[0] > 0
    assert arrivals[-1] < 50
    assert len(arrivals) == pytest.approx(50_000, rel=0.02)
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert mean(gaps) == pytest.approx(1e-3, rel=0.02)
    assert pstdev(gaps) == pytest.approx(1e-3, rel=0.05)  # of an exponential distribution: as large as the mean


async def test_the_timer_never_rings_early_and_takes_the_last_setting() -> None:
    rang = asyncio.Event()
    timer = PreciseTimer(asyncio.get_running_loop(), rang.set)
    try:
        for _ in range(5):
            rang.clear()
            due_s = time.monotonic() + 0.003
            timer.set(time.monotonic() + 60)
            timer.set(due_s)
            await asyncio.wait_for(rang.wait(), 10)
            assert time.monotonic() >= due_s
    finally:
        timer.close()


async def test_the_timer_rings_at_once_for_what_is_past() -> None:
    rang = asyncio.Event()
    timer = PreciseTimer(asyncio.get_running_loop(), rang.set)
    try:
        timer.set(time.monotonic() - 1)
        await asyncio.wait_for(rang.wait(), 10)
    finally:
        timer.close()
