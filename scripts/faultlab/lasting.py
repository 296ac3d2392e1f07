"""How long something takes that may never come."""

import asyncio
from collections.abc import Awaitable
from time import perf_counter

from scripts.faultlab.cluster import SETTLE_SECONDS


async def seconds_of(work: Awaitable[object]) -> float | None:
    """How long something takes; None where it takes longer than `SETTLE_SECONDS`, and is ended."""
    began = perf_counter()
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await work
    except TimeoutError:
        return None
    return perf_counter() - began


def within(seconds: float | None, most: float) -> bool:
    """Whether it came, and in time."""
    return seconds is not None and seconds <= most


def said(seconds: float | None) -> str:
    """The time, for a cell of the table."""
    return f"not within {SETTLE_SECONDS:.0f} s" if seconds is None else f"{seconds:.1f} s"
