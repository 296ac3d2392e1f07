"""A process killed in the middle of an import goes on with it, and no piece of stock is counted twice."""

import io
from pathlib import Path

import asyncpg

from tests.e2e.catalogue import catalogue
from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, shopper
from tests.faults.invariants import faults_at_rest

VARIANTS = 20_000


async def test_an_import_killed_three_times_ends_complete_and_counts_nothing_twice(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", measured=False)
    text = catalogue(VARIANTS, "killed", pieces=7)
    async with server, shopper(server.url) as shop:
        headers = {**STAFF, "Content-Type": "text/csv", "Idempotency-Key": "the-import-that-is-killed"}
        async with shop.session.post(f"{shop.url}/api/v1/imports", data=io.BytesIO(text), headers=headers) as response:
            job = await response.json()
        rows = 0
        for _ in range(3):
            while (shown := await shop.ok("GET", f"/imports/{job['id']}", headers=STAFF))["rows"] <= rows:
                assert shown["status"] == "running"
            rows = shown["rows"]
            await server.kill()
            await server.start()
        done = await shop.until(f"/imports/{job['id']}", status="done")
        # What went in before a crash is unchanged when the file is read again.
        assert (done["products"] + done["unchanged"], done["refused"], done["failure"]) == (VARIANTS // 10, [], None)
        connection = await asyncpg.connect(server.dsn)
        try:
            received = {f"KILLED-{number}": 7 for number in range(VARIANTS)}
            assert await faults_at_rest(connection, received) == []
        finally:
            await connection.close()
