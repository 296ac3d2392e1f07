"""The simulation sees: each fault that is planted into the product is found within 500 worlds."""

import pytest

from tests.simulation.faults import PLANTS
from tests.simulation.test_simulation import simulation

WITHIN = 500


def test_the_faults_that_others_ask_about_are_planted() -> None:
    assert set(PLANTS) == {
        "a compensation that is forgotten",
        "a new gateway key on retry",
        "acknowledge across channel generations",
        "acknowledge before the commit",
        "cancel with unacknowledged messages",
        "delete the outbox row before the receiver's commit",
        "drop the epoch",
        "nack with requeue",
        "skip the tail check",
        "the local clock for expiry",
        "trust in the single active consumer instead of the epoch",
        "trust the broker's order",
        "write the reply where the commit failed",
    }


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(plant: str) -> None:
    status, output = simulation("--seeds", f"0:{WITHIN}", "--jobs", "1", "--first", "--plant", plant)
    assert status == 1, output
    assert "python -m tests.simulation" in output
