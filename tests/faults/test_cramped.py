"""A shop without room: mailboxes overflow into the outbox, and states leave memory as soon as they came."""

from pathlib import Path

import pytest

from tests.faults.crowd import crowd

CRAMPED = {
    "short mailboxes": {"ULTRAMARKET_MAILBOX_LIMIT": "1"},
    "little memory": {"ULTRAMARKET_MEMORY_BYTES": "1"},
    "many committers": {"ULTRAMARKET_COMMITTERS": "5"},
}


@pytest.mark.parametrize("lack", CRAMPED)
async def test_a_cramped_shop_that_is_killed_now_and_then_loses_nothing(tmp_path: Path, lack: str) -> None:
    async with crowd(tmp_path / "data", seed=7, settings=CRAMPED[lack]) as (server, buyers):
        for _ in range(2):
            await buyers.answers(100)
            await server.kill()
            await server.start()
        await buyers.answers(200)
