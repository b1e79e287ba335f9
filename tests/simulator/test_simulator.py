"""The accounting core in a simulated world. `python -m tests.simulator --seed` repeats a failure."""

import os
import time

import pytest

from tests.simulator.store import Bugs
from tests.simulator.world import Violation, World

STEPS = 5000
FRESH_S = 4.0
_FOUND_WITHIN_S = 60.0
_MANY_STEPS = 10_000_000


@pytest.mark.parametrize("seed", [1, 2, 3, 31, 42, 525, 1042])
def test_seeds_that_once_found_something(seed: int) -> None:
    World(seed).run(STEPS)


def test_fresh_seeds() -> None:
    first = int.from_bytes(os.urandom(6), "big")
    until_s = time.monotonic() + FRESH_S
    seed = first
    while time.monotonic() < until_s:
        try:
            World(seed).run(STEPS)
        except Violation as violation:
            pytest.fail(f"seed {seed}, {STEPS} steps: {violation}")
        seed += 1
    assert seed > first


@pytest.mark.long
def test_ten_million_steps() -> None:
    seed, steps = int.from_bytes(os.urandom(6), "big"), 0
    while steps < _MANY_STEPS:
        world = World(seed, workers=1 + seed % 5, restores=seed % 4 == 0)
        try:
            world.run(4 * STEPS)
        except Violation as violation:
            pytest.fail(f"seed {seed}, step {world.steps}: {violation}")
        steps += world.steps
        seed += 1


@pytest.mark.parametrize("workers", [1, 8])
def test_few_and_many_workers(workers: int) -> None:
    world = World(7, workers=workers)
    world.run(STEPS)
    assert world.served > 500
    assert world.jumps > 0
    assert world.refused > 0 or workers > 1


def test_restored_databases() -> None:
    """What was granted since may be spent twice, and no more; nothing is booked twice; nothing is stranded."""
    worlds = [World(seed, restores=True) for seed in range(1, 9)]
    for world in worlds:
        world.run(STEPS)
    assert any(world.forgotten for world in worlds)


@pytest.mark.parametrize(
    "bugs",
    [
        Bugs(no_conflict_clause=True),
        Bugs(grants_expire=True),
        Bugs(epoch_not_locked=True),
        Bugs(round_down=True),
        Bugs(repeated_exchanges=True),
        Bugs(forgets_for_good=True),
    ],
    ids=str,
)
def test_planted_mistakes_are_found(bugs: Bugs) -> None:
    """A simulator that finds nothing proves nothing. Within a minute, on a machine that does other things too."""
    began_s = time.monotonic()
    for seed in range(1, 60):
        try:
            World(seed, bugs=bugs, restores=bugs.forgets_for_good).run(STEPS)
        except AssertionError:
            assert time.monotonic() - began_s < _FOUND_WITHIN_S
            return
    pytest.fail(f"{bugs} went unnoticed")
