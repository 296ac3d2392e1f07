"""The database goes away, or the process is asked to stop, while the shop is full."""

import os
import signal
from pathlib import Path

import asyncpg

from tests.faults.crowd import crowd

HANG_UP = """
select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and datname is not null
"""


async def test_connections_cut_under_load_cost_nobody_an_order(tmp_path: Path) -> None:
    async with crowd(tmp_path / "data", seed=101) as (server, buyers):
        pid = server.pid
        for _ in range(3):
            await buyers.answers(60)
            connection = await asyncpg.connect(server.dsn)
            assert await connection.fetchval(HANG_UP) >= 4
            await connection.close()
        await buyers.answers(120)
        assert server.pid == pid


async def test_asked_to_stop_under_load_the_process_ends_well_and_nothing_is_lost(tmp_path: Path) -> None:
    async with crowd(tmp_path / "data", seed=102) as (server, buyers):
        for _ in range(3):
            await buyers.answers(60)
            assert await server.stop() == 0
            await server.start()
        await buyers.answers(60)


async def test_without_its_embedded_database_the_process_gives_up_so_that_it_can_be_started_anew(
    tmp_path: Path,
) -> None:
    async with crowd(tmp_path / "data", seed=103) as (server, buyers):
        await buyers.answers(60)
        postmaster = int((server.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        assert await server.ended() == 1
        assert (
            server.said().splitlines()[-1].startswith("Error: The embedded PostgreSQL ended by itself, with status -9")
        )
        await server.start()
        await buyers.answers(60)
