"""The real application over a shop in memory, and a client for it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.web.world import Client, World
from web.app import create_app


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    # Without codings, which a test that is about them asks for itself.
    async with TestClient(TestServer(create_app(world.shop)), headers={"Accept-Encoding": "identity"}) as client:
        yield client


@pytest.fixture
async def cart(world: World, client: Client) -> dict[str, Any]:
    """A cart that is ready to be ordered."""
    await world.product()
    made = await (await client.post("/api/v1/carts")).json()
    url = f"/api/v1/carts/{made['id']}"
    await client.post(f"{url}/lines", json={"sku": "TOTE", "quantity": 2})
    address = {"name": "Ada", "line1": "1 Main St", "city": "Springfield", "postal_code": "12345", "country": "US"}
    patch = {"email": "ada@example.com", "shipping_address": address, "shipping_method": "standard"}
    answer = await client.patch(url, json=patch)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found
