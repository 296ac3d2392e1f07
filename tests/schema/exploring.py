"""Runs of schemathesis: requests made of the OpenAPI document, right and wrong ones, and checks of every answer."""

import asyncio
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

CONFIG = Path(__file__).parent / "schemathesis.toml"
SECONDS = int(os.environ.get("ULTRAMARKET_TEST_SCHEMA_SECONDS", "40"))
"""How long one run goes on."""
SEED = int(os.environ.get("ULTRAMARKET_TEST_SCHEMA_SEED", "1"))
"""What all requests follow from."""
GRACE_SECONDS = 60.0
"""How much longer than its budget a run may take: it begins no further request then, but finishes its report."""


_SUCCESSES = re.compile(
    r'^ultramarket_http_request_seconds_count{method="(.+?)",route="/api/v1(.+?)",status="2.."} (.+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run found.

    Attributes:
        failed: an answer was not as the document says, or the run itself went wrong.
        said: its report for people: each finding with the curl line that repeats it.
        granted: how often each operation succeeded meanwhile, e.g. `{"POST /carts": 12}`.
    """

    failed: bool
    said: str
    granted: Counter[str]


async def explore(
    url: str, folder: Path, known: Mapping[str, Sequence[str]], *, token: str | None = None, seconds: int = SECONDS
) -> Run:
    """Go through the API for a while.

    Args:
        url: the server.
        folder: where the run keeps its files.
        known: ids that the shop has, by the name of their dictionary in the configuration.
        token: the bearer token of all requests; None: a guest's.
        seconds: the budget.
    """
    shutil.copy(CONFIG, folder)
    for name, values in known.items():
        (folder / f"{name}.txt").write_text("".join(f'"{value}"\n' for value in values))
    before = await _granted(url)
    named = ("--header", f"Authorization: Bearer {token}") if token else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / CONFIG.name), "--no-color", "run"),
        *(f"{url}/api/v1/openapi.json", "--max-time", str(seconds), "--seed", str(SEED), *named),
        *("--output-sanitize", "false"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    try:
        async with asyncio.timeout(seconds + GRACE_SECONDS):
            out, _ = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        error.add_note(f"The seed was {SEED}.")
        raise
    said = f"{out.decode('utf-8', 'replace')}\nRepeat it with ULTRAMARKET_TEST_SCHEMA_SEED={SEED}."
    return Run(process.returncode != 0, said, await _granted(url) - before)


async def _granted(url: str) -> Counter[str]:
    """How often each operation succeeded since the server started, as it counts itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found: Counter[str] = Counter()
    for method, route, count in _SUCCESSES.findall(text):
        found[f"{method} {route}"] += int(float(count))
    return found
