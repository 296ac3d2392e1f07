from datetime import UTC, datetime, timedelta

import pytest

from ultramarket.runtime.clock import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def local() -> Monotonic:
    return Monotonic()


def test_the_time_of_the_store_is_carried_on_by_the_monotonic_clock(local: Monotonic) -> None:
    clock = Clock(local)
    clock.set(NOON)
    local.seconds += 1.5
    assert clock.now() == NOON + timedelta(seconds=1.5)


def test_a_local_clock_that_runs_fast_is_corrected_without_running_back(local: Monotonic) -> None:
    clock = Clock(local)
    clock.set(NOON)
    local.seconds += 3
    assert clock.now() == NOON + timedelta(seconds=3)
    clock.set(NOON + timedelta(seconds=2))
    assert clock.now() == NOON + timedelta(seconds=3)
    local.seconds += 2
    assert clock.now() == NOON + timedelta(seconds=4)


def test_a_store_that_was_days_ahead_once_is_followed_back(local: Monotonic) -> None:
    clock = Clock(local)
    clock.set(NOON + timedelta(days=130))
    assert clock.now() == NOON + timedelta(days=130)
    clock.set(NOON)
    assert clock.now() == NOON


def test_an_answer_that_was_read_late_does_not_put_the_clock_back(local: Monotonic) -> None:
    clock = Clock(local)
    clock.set(NOON)
    asked = local.seconds
    local.seconds += 25  # the process stood still
    clock.set(NOON, asked)
    assert clock.now() == NOON + timedelta(seconds=25)


def test_an_answer_puts_the_clock_right_as_far_as_it_knows(local: Monotonic) -> None:
    clock = Clock(local)
    clock.set(NOON)
    local.seconds += 2
    clock.set(NOON + timedelta(seconds=60), local.seconds - 1)
    assert clock.now() == NOON + timedelta(seconds=60)
    clock.set(NOON + timedelta(seconds=30), local.seconds - 1)
    local.seconds += 40
    assert clock.now() == NOON + timedelta(seconds=71)


async def test_a_store_that_tells_its_time_late_is_asked_again(local: Monotonic) -> None:
    clock = Clock(local)
    answers = [(20.0, NOON), (0.1, NOON + timedelta(seconds=20))]

    async def store() -> datetime:
        seconds, now = answers.pop(0)
        local.seconds += seconds
        return now

    await clock.ask(store)
    assert answers == []
    assert clock.now() == NOON + timedelta(seconds=20)
