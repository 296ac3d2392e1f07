from datetime import UTC, datetime, timedelta

import pytest

from ultramarket.runtime import clock as module
from ultramarket.runtime.clock import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    local = Monotonic()
    monkeypatch.setattr(module, "time", local)
    return local


def test_the_time_of_the_store_is_carried_on_by_the_monotonic_clock(local: Monotonic) -> None:
    clock = Clock()
    clock.set(NOON)
    local.seconds += 1.5
    assert clock.now() == NOON + timedelta(seconds=1.5)


def test_a_local_clock_that_runs_fast_is_corrected_without_running_back(local: Monotonic) -> None:
    clock = Clock()
    clock.set(NOON)
    local.seconds += 3
    assert clock.now() == NOON + timedelta(seconds=3)
    clock.set(NOON + timedelta(seconds=2))
    assert clock.now() == NOON + timedelta(seconds=3)
    local.seconds += 2
    assert clock.now() == NOON + timedelta(seconds=4)


@pytest.mark.usefixtures("local")
def test_a_store_that_was_days_ahead_once_is_followed_back() -> None:
    clock = Clock()
    clock.set(NOON + timedelta(days=130))
    assert clock.now() == NOON + timedelta(days=130)
    clock.set(NOON)
    assert clock.now() == NOON
