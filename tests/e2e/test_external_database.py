"""A PostgreSQL of one's own instead of the embedded one."""

import asyncio

import asyncpg
import pytest

from tests.e2e.server import Died, Server
from tests.e2e.shopper import shopper
from tests.faults.invariants import faults_at_rest
from ultramarket.adapters.postgres_lock import KEY

EXTERNAL = "ULTRAMARKET_DATABASE_URL"
LOCKS = """
from pg_locks where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = $1
and database = (select oid from pg_database where datname = current_database())
"""


async def test_a_purchase_on_an_external_database_survives_a_stop_in_order(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Server(tmp_path_factory.mktemp("external") / "data", settings={EXTERNAL: dsn})
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
            # The views may have been behind at the stop: the next start brings them up to date.
            assert await faults_at_rest(connection, {"OWN": 5}) == []
        finally:
            await connection.close()


async def test_a_second_process_on_the_same_database_is_refused_with_a_sentence(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("two")
    async with Server(place / "first", settings={EXTERNAL: dsn}) as first:
        with pytest.raises(Died) as death:
            await Server(place / "second", settings={EXTERNAL: dsn}).start()
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


async def test_a_process_whose_database_was_taken_over_ends_and_says_by_whom(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    thief = await asyncpg.connect(dsn, server_settings={"application_name": "ultramarket owner thief pid 1"})
    other = await asyncpg.connect(dsn)
    async with Server(tmp_path_factory.mktemp("taken") / "data", settings={EXTERNAL: dsn}) as server:
        taking = asyncio.create_task(thief.execute("select pg_advisory_lock($1)", KEY))
        async with asyncio.timeout(20):
            while not await other.fetchval(f"select count(*) {LOCKS} and not granted", KEY):  # noqa: ASYNC110 - the event is in the server
                await asyncio.sleep(0.01)
        assert await other.fetchval(f"select count(pg_terminate_backend(pid)) {LOCKS} and granted", KEY) == 1
        await taking
        assert await server.ended() == 1
        assert "Error: This database is in use by ultramarket owner thief pid 1" in server.said()
    await thief.close()
    await other.close()
