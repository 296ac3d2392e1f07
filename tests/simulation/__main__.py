# ruff: noqa: T201 - a command-line tool prints
"""Simulate worlds: `python -m tests.simulation 42` one of them, `python -m tests.simulation --seeds 0:2000` many."""

import argparse
import os
import sys

from tests.simulation.batch import many
from tests.simulation.faults import PLANTS
from tests.simulation.logs import LOG
from tests.simulation.world import simulate

HASH_SEED = {"PYTHONHASHSEED": "0"}
"""Sets of texts are walked through in the order of their hashes: it must be the same each time."""


def main() -> int:
    """Run what was asked for; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the world to live through")
    parser.add_argument("--trace", action="store_true", help="print every step of it")
    parser.add_argument("--plant", choices=PLANTS, metavar="NAME", help=f"plant a fault: {', '.join(PLANTS)}")
    parser.add_argument("--seeds", metavar="A:B", help="live through the worlds A to B - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for --seeds")
    parser.add_argument("--first", action="store_true", help="stop at the first seed with a fault")
    parser.add_argument("--each", action="store_true", help="tell of each seed, not only of those with a fault")
    given = parser.parse_args()
    if (given.seed is None) == (given.seeds is None):
        parser.error("give one seed, or --seeds A:B")
    if given.seeds is not None:
        first, _, end = given.seeds.partition(":")
        seeds = range(int(first), int(end))
        return many(seeds, given.jobs, given.plant, stop_at_first=given.first, each=given.each)
    return one(given.seed, given.plant, trace=given.trace)


def one(seed: int, plant: str | None, *, trace: bool) -> int:
    """Live through one world and say what was found."""
    LOG.install(trace=trace)
    result = simulate(seed, print if trace else None, plant)
    print(result)
    for fault in result.faults:
        print(f"FAULT {fault}")
    return 1 if result.faults else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | HASH_SEED)  # noqa: S606 - ourselves
    sys.exit(main())
