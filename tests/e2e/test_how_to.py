"""What the how-to pages tell a newcomer to type is true."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.documents import answers
from tests.e2e.server import Server

REPLICAS = Path(__file__).parents[2] / "docs" / "how-to" / "replicas.md"


async def test_a_replica_that_is_killed_as_the_how_to_says_is_replaced(tmp_path: Path, broker_url: str) -> None:
    first, second, *_ = re.findall(r"```bash\n(.*?)```", REPLICAS.read_text("utf-8"), flags=re.DOTALL)
    assert "ultramarket start --replicas 4\n" in first
    for said, here in (
        ("source var/services/environment\n", f"export ULTRAMARKET_TEST_RABBITMQ_URL={broker_url}\n"),
        (".venv/bin/ultramarket status ", f"{sys.executable} -m ultramarket.cli status --json "),
        (".venv/bin/ultramarket status\n", f"{sys.executable} -m ultramarket.cli status --json\n"),
        ("sleep 3 ", "sleep 15 "),  # beside other tests all of it takes longer
        (".venv/bin/ultramarket doctor", f"{sys.executable} -m ultramarket.cli doctor --json"),
    ):
        assert second.count(said) == 1, said
        second = second.replace(said, here)
    settings = {"ULTRAMARKET_BROKER_URL": broker_url}
    async with Server(tmp_path / "data", "start", "--replicas", "4", settings=settings) as server:
        # Other tests have replicas, too.
        script = second.replace("--oldest", f"--oldest --parent {server.pid}")
        bash = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            stdout=subprocess.PIPE,
            env={**os.environ, "ULTRAMARKET_DATA_DIR": str(server.data_dir)},
        )
        async with asyncio.timeout(60):
            out, _ = await bash.communicate()
    assert bash.returncode == 0
    before, doctor, after = answers(out.decode())
    assert len(before["members"]) == 4
    assert doctor["healthy"]
    owners = {member["pid"] for member in after["members"] if member["partitions"]}
    assert len({member["pid"] for member in before["members"]} - owners) == 1
