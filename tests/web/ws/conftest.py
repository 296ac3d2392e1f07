"""Live connections to the application over a shop in memory."""

from collections.abc import AsyncIterator

import pytest

from tests.web.world import Client, World
from tests.web.ws.live import Lives
from web.ws import HUB
from web.ws.hub import Hub


@pytest.fixture
async def live(world: World, client: Client) -> AsyncIterator[Lives]:
    await world.tailer.start()
    lives = Lives(client)
    yield lives
    for ws in lives.opened:
        await ws.close()
    await world.tailer.stop()


@pytest.fixture
def hub(client: Client) -> Hub:
    assert client.app is not None
    return client.app[HUB]
