"""A PostgreSQL of one's own instead of the embedded one."""

import asyncpg
import pytest

from tests.e2e.server import Died, Server
from tests.e2e.shopper import shopper
from tests.faults.invariants import faults, unfinished

EXTERNAL = "ULTRAMARKET_DATABASE_URL"


async def test_a_purchase_on_an_external_database_survives_a_stop_in_order(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Server(tmp_path_factory.mktemp("external") / "data", **{EXTERNAL: dsn})
    async with server, shopper(server.url) as shop:
        await shop.stock("OWN", 5)
        order = (await shop.order(await shop.filled_cart("OWN"))).json
        assert (order["status"], order["payment_status"]) == ("open", "paid")
        assert await server.stop() == 0
        assert not (server.data_dir / "postgres").exists()
        await server.start()
        assert (await shop.ok("GET", f"/orders/{order['id']}"))["payment_status"] == "paid"
        await shop.until("/inventory/OWN", on_hand=4, held=0)
        connection = await asyncpg.connect(dsn)
        try:
            assert await unfinished(connection) == {}
            assert await faults(connection, {"OWN": 5}) == []
        finally:
            await connection.close()


async def test_a_second_process_on_the_same_database_is_refused_with_a_sentence(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("two")
    async with Server(place / "first", **{EXTERNAL: dsn}) as first:
        with pytest.raises(Died) as death:
            await Server(place / "second", **{EXTERNAL: dsn}).start()
        assert death.value.code == 1
        assert "This database is in use by ultramarket owner" in death.value.said
        assert f"pid {first.pid}" in death.value.said
        assert "Traceback" not in death.value.said


async def test_a_second_process_on_the_same_data_directory_is_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("shared") / "data"
    async with Server(data) as first:
        with pytest.raises(Died) as death:
            await Server(data).start()
        assert death.value.code == 1
        assert f"is in use by process {first.pid} since" in death.value.said
        assert "Traceback" not in death.value.said
