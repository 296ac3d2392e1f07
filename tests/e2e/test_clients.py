"""The generated clients: made as the how-to says, and an order with each, by the examples of the docs."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.e2e.shopper import Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SECONDS = 300
"""Packages are fetched, once."""


async def run(*command: str | Path, **environment: str) -> str:
    """Run a command to its end; gives what it said."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:] + out.decode()[-3000:]
    return out.decode()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both clients were made."""
    if shutil.which("npm") is None and os.environ.get("CI") != "true":
        pytest.skip("npm is not here: the TypeScript client needs it")
    place = tmp_path_factory.mktemp("clients")
    subprocess.run([ROOT / "scripts" / "clients", place], check=True, timeout=SECONDS, capture_output=True)
    return place


async def test_the_python_client_orders(clients: Path, running: Server, shop: Shopper) -> None:
    await shop.stock("PY-1", 10)
    python = ROOT / "var" / "clients-venv" / "bin" / "python"
    said = await run(python, EXAMPLES / "order.py", running.url, "PY-1", PYTHONPATH=str(clients / "python"))
    assert said.split()[1:] == ["paid", "25.80"]
    assert await shop.level("PY-1") == (8, 0)


async def test_the_typescript_client_orders(clients: Path, running: Server, shop: Shopper) -> None:
    await shop.stock("TS-1", 10)
    package = clients / "typescript"
    example = package / "example"
    example.mkdir()
    shutil.copy(EXAMPLES / "order.ts", example)
    compiler = package / "node_modules" / ".bin" / "tsc"
    # Within the package its own name leads to it, as to any other that was installed.
    options = ("--strict", "--target", "ES2022", "--module", "NodeNext", "--lib", "ES2022,DOM", "--types", "node")
    await run(compiler, *options, "--typeRoots", package / "node_modules" / "@types", example / "order.ts")
    said = await run("node", example / "order.js", running.url, "TS-1")
    assert said.split()[1:] == ["paid", "25.80"]
    assert await shop.level("TS-1") == (8, 0)
