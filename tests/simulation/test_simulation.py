"""Thousands of simulated worlds are right in the end, and each of them can be lived through again.

`ULTRAMARKET_TEST_SEEDS` says how many worlds (2,000), `ULTRAMARKET_TEST_FIRST_SEED` with which they begin (0).
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST = int(os.environ.get("ULTRAMARKET_TEST_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("ULTRAMARKET_TEST_SEEDS", "2000"))


def simulation(*arguments: str) -> tuple[int, str]:
    """Exit status and output of `python -m tests.simulation`, which goes at full speed: its lines are not counted."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_world_is_right_in_the_end() -> None:
    status, output = simulation("--seeds", f"{FIRST}:{FIRST + SEEDS}")
    assert status == 0, output
    assert f"{SEEDS} worlds" in output


def test_a_world_is_lived_through_in_the_same_way_again() -> None:
    first, again = simulation("7", "--trace"), simulation("7", "--trace")
    assert first == again
    assert len(first[1].splitlines()) > 50


def test_a_world_does_not_depend_on_those_before_it() -> None:
    alone = [simulation(str(seed))[1] for seed in (3, 4)]
    told = simulation("--seeds", "0:5", "--jobs", "1", "--each")[1]
    assert all(line.strip() in told for line in alone)


def test_worlds_are_the_same_whatever_was_lived_through_before_them() -> None:
    first, second = (simulation("--seeds", seeds, "--jobs", "1", "--each")[1] for seeds in ("100:180", "120:200"))
    both = [line for line in first.splitlines() if line.startswith("seed ") and 120 <= int(line.split()[1][:-1]) < 180]
    assert len(both) == 60
    assert [line for line in both if line not in second.splitlines()] == []


def test_a_world_with_a_fault_says_how_to_see_it_again() -> None:
    plant = "the local clock for expiry"
    status, output = simulation("--seeds", "0:20", "--jobs", "1", "--first", "--plant", plant)
    assert status == 1
    command = next(line for line in output.splitlines() if "python -m" in line)
    seed = command.split()[1]
    assert f"python -m tests.simulation {seed} --trace --plant '{plant}'" in command
    status, output = simulation(seed, "--plant", plant)
    assert status == 1
    assert "behind the store's time" in output
