"""A real server, killed at each place where a crash could hurt most: nothing that was promised is lost or doubled."""

from pathlib import Path

import pytest

from tests.e2e.server import KILLED, Died
from tests.faults.crowd import crowd
from ultramarket.runtime.failpoints import NAMES

COUNTS = {"take.after": (1, 17, 100), "timer.before": (1, 3, 9)}
"""How often a failpoint is reached before it kills; the others at the counts below."""
OFTEN = (1, 15, 70)


@pytest.mark.parametrize("name", NAMES)
async def test_killed_at_a_failpoint_the_shop_loses_and_doubles_nothing(tmp_path: Path, name: str) -> None:
    async with crowd(tmp_path / "data", seed=NAMES.index(name), measured=False) as (server, buyers):
        for count in COUNTS.get(name, OFTEN):
            await buyers.answers(20)
            await server.kill()
            try:
                await server.start(ULTRAMARKET_TEST_FAILPOINT=f"{name}:{count}")
            except Died as death:
                assert death.code == KILLED  # noqa: PT017 - some die before they serve, the others while they do
            else:
                assert await server.ended() == KILLED
            await server.start()
        await buyers.answers(60)
