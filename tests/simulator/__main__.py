"""Runs the simulator for a time: `python -m tests.simulator --seconds 60`. Exits with 1 when something is wrong."""

import argparse
import os
import sys
import time

from tests.simulator.world import Violation, World

STEPS = 20_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look for violations")
    parser.add_argument("--steps", type=int, default=STEPS, help="events in one world")
    parser.add_argument("--seed", type=int, help="run this one world, and no other")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(6), "big")
    started_s = shown_s = time.monotonic()
    steps = served = refused = worlds = 0
    while True:
        world = World(seed, workers=1 + seed % 5, restores=seed % 4 == 0)
        try:
            world.run(arguments.steps)
        except Violation as violation:
            print(f"\nseed {seed}, step {world.steps}, at {world.now_s:.2f} s: {violation}")
            return 1
        steps, served, refused, worlds = (
            steps + world.steps,
            served + world.served,
            refused + world.refused,
            worlds + 1,
        )
        passed_s = time.monotonic() - started_s
        if sys.stderr.isatty() and time.monotonic() - shown_s > 0.5:
            shown_s = time.monotonic()
            print(f"\r{passed_s:5.0f} s  {steps:,} steps, {worlds} worlds", end="", file=sys.stderr)
        if arguments.seed is not None or passed_s >= arguments.seconds:
            break
        seed += 1
    print(
        f"{steps:,} steps in {worlds} worlds, {served:,} calls served, {refused:,} refused, last seed {seed}: "
        f"no violation ({steps / passed_s:,.0f} steps a second)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
