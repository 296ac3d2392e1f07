# ruff: noqa: T201 - part of a command-line tool
"""Many worlds at once, in as many processes as there are cores."""

import gc
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import process_time

from tests.simulation.logs import LOG
from tests.simulation.world import Result, simulate

CHUNK = 20
"""Seeds that a process takes at once."""


def many(seeds: range, jobs: int, plant: str | None, *, stop_at_first: bool, each: bool) -> int:
    """Live through many worlds; prints each that has a fault with the command that replays it.

    Gives the exit status.
    """
    chunks = [(list(seeds[at : at + CHUNK]), plant, stop_at_first) for at in range(0, len(seeds), CHUNK)]
    lived, failed, orders, taken = 0, 0, 0, 0.0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        for results, seconds in pool.map(_live_through, chunks):
            taken += seconds
            lived += len(results)
            orders += sum(result.orders for result in results)
            failed += sum(bool(result.faults) for result in results)
            for result in results:
                _tell(result, plant, each=each)
            if failed and stop_at_first:
                pool.shutdown(cancel_futures=True)
                break
    print(f"{lived} worlds, {orders} orders, {failed} with faults; {taken / lived:.3f} s of CPU a world")
    return 1 if failed else 0


def _prepare() -> None:
    LOG.install(trace=False)
    gc.collect()
    gc.freeze()  # what was imported need not be looked through after each world


def _live_through(chunk: tuple[list[int], str | None, bool]) -> tuple[list[Result], float]:
    """Live through some worlds in this process; with the seconds of CPU that it took."""
    seeds, plant, stop_at_first = chunk
    results, started = [], process_time()
    for seed in seeds:
        results.append(simulate(seed, plant=plant))
        if stop_at_first and results[-1].faults:
            break
    return results, process_time() - started


def _tell(result: Result, plant: str | None, *, each: bool) -> None:
    if result.faults:
        command = f"python -m tests.simulation {result.seed} --trace" + (
            f" --plant {shlex.quote(plant)}" if plant else ""
        )
        print(f"seed {result.seed} has {len(result.faults)} faults; {command}")
        for fault in result.faults[:5]:
            print(f"    {fault[:500]}")
    elif each:
        print(result)
    sys.stdout.flush()
