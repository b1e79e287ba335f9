"""Shares of rate limits: what is right, and that together they never exceed the limit whatever happens."""

import time
from random import SystemRandom

import pytest

from tests.domain.rate_simulation import OverTheLimit, Simulation
from tests.domain.rate_store_model import EagerStore


@pytest.mark.parametrize("seed", [*range(8), SystemRandom().getrandbits(32)])
def test_nothing_is_used_beyond_its_limit(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(600)
    assert simulation.steps > 5_000


def test_a_share_that_grows_before_the_others_gave_up_is_found() -> None:
    begun = time.monotonic()
    for seed in range(100):
        try:
            Simulation(seed, store_of=EagerStore, faults=False).run(120)
        except OverTheLimit:
            break
    else:
        pytest.fail("not found")
    assert time.monotonic() - begun < 60
