"""Runs one coroutine in virtual time, as a world with a single process."""

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from tests.simulation.loop import VirtualLoop

Result = TypeVar("Result")
MOST_STEPS = 1_000_000


def virtually(main: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; nothing may have been raised where nobody looked."""
    loop = VirtualLoop(Random(1))  # type: ignore[abstract]  # noqa: S311 - what needs sockets is not there
    try:
        result = loop.run(main, MOST_STEPS)
        assert loop.errors == []
        return result
    finally:
        loop.close()
