"""The platform as a process of its own, started as its users start it, and filled with what the benchmarks need."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import asyncpg

from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.meter import Meter
from ultramarket.adapters.embedded_postgres import running_dsn

ROOT = Path(__file__).parents[2]
API = "/api/v1"
STAFF_KEY = "umk_for-the-benchmarks-alone"
STAFF = f"authorization: Bearer {STAFF_KEY}\r\n"
PRODUCTS = 5
SIZES = ("S", "M", "L", "XL")
SKUS = tuple(f"BENCH-{number}-{size}" for number in range(PRODUCTS) for size in SIZES)
STOCK = 1_000_000
START_SECONDS = 60.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Shop:
    """A running platform.

    Attributes:
        port: where it listens.
        pid: of its process.
        dsn: of its embedded database.
        postgres: pid of that database's first process.
        log: that database's log.
        seconds: from the start of the process to the first 200 of /health/ready.
    """

    port: int
    pid: int
    dsn: str
    postgres: int
    log: Path
    seconds: float


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def process(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> AsyncIterator[Process]:
    """A Python process of this project until the block ends."""
    with log.open("ab") as lines:
        started = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=lines, stderr=lines,
            env={**os.environ, **environment},
        )  # fmt: skip
    ended = asyncio.create_task(started.wait())
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.terminate()
        await asyncio.wait([ended], timeout=STOP_SECONDS)
        if not ended.done():
            started.kill()
            await ended


@asynccontextmanager
async def running_shop(data_dir: Path, log_level: str, **settings: str) -> AsyncIterator[Shop]:
    """The platform with its embedded database in that directory; `settings` as environment variables."""
    data_dir.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    port, log = free_port(), data_dir / "server.log"
    arguments = ("-m", "ultramarket.cli", "up", "--no-demo", "--port", str(port), "--data-dir", str(data_dir))
    environment = {
        "ULTRAMARKET_STAFF_KEY": STAFF_KEY,
        "ULTRAMARKET_LOG_LEVEL": log_level,
        "ULTRAMARKET_DATABASE_URL": "",
        **settings,
    }
    began = perf_counter()
    async with process(arguments, log, environment) as started:
        await answering(port, "/health/ready", started, log)
        seconds = perf_counter() - began
        dsn = running_dsn(data_dir)
        if dsn is None:
            raise RuntimeError(f"the platform answers, and its database does not: {_last_lines(log)}")
        yield Shop(port, started.pid, dsn, postmaster(data_dir), data_dir / "postgres.log", seconds)


async def answering(port: int, path: str, started: Process, log: Path) -> None:
    """Wait until a GET of the path is answered with 200.

    Raises:
        RuntimeError: the process ended, or it took too long; with the last lines of its log.
    """
    async with asyncio.timeout(START_SECONDS):
        while True:
            with suppress(OSError):
                connection = await Connection.open(port)
                try:
                    if (await connection.call("GET", path)).status == 200:  # noqa: PLR2004 - HTTP
                        return
                finally:
                    connection.close()
            if started.returncode is not None:
                raise RuntimeError(f"the process ended: {_last_lines(log)}")
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def meter_of(shop: Shop, pid: int | None = None) -> AsyncIterator[Meter]:
    """A meter of the platform, or of another process that works on its database server."""
    connection = await asyncpg.connect(shop.dsn)
    try:
        yield Meter(pid or shop.pid, shop.postgres, connection)
    finally:
        await connection.close()


def postmaster(data_dir: Path) -> int:
    """The first process of the embedded database in that directory."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text("utf-8").partition("\n")[0])


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-10:])


async def fill(port: int) -> None:
    """A small catalogue: products in four sizes, plenty of each."""
    async with connections(port, 1) as (connection,):
        for number in range(PRODUCTS):
            variants = [
                {
                    "sku": f"BENCH-{number}-{size}",
                    "options": {"Size": size},
                    "price": {"amount": "19.90", "currency": "USD"},
                    "weight_grams": 300,
                }
                for size in SIZES
            ]
            product = {
                "title": f"Bench shirt {number}",
                "status": "published",
                "options": [{"name": "Size", "values": SIZES}],
                "variants": variants,
            }
            (await connection.call("POST", f"{API}/products", product, STAFF)).json()
        for sku in SKUS:
            adjustment = {"delta": STOCK, "reason": "received"}
            (await connection.call("POST", f"{API}/inventory/{sku}/adjustments", adjustment, STAFF)).json()
