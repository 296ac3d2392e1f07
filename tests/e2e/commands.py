"""The command line, used beside a running server."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import msgspec

from tests.e2e.server import STAFF_KEY, Server

END_SECONDS = 180


async def told(server: Server, *arguments: str) -> Any:
    """Run a command with --json on a server's shop; gives what it says. It has to succeed."""
    return msgspec.json.decode(await run(server, *arguments, "--json"))


async def run(server: Server, *arguments: str) -> bytes:
    """Run a command on a server's shop, as its staff; gives its standard output. It has to succeed."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("ULTRAMARKET_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ultramarket.cli", *arguments, "--data-dir", str(server.data_dir)),
        env={**given, "ULTRAMARKET_STAFF_KEY": STAFF_KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(END_SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, (arguments, process.returncode, out, err)
    return out
