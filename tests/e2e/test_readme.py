"""What README tells a newcomer to type is true."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.documents import answers
from tests.e2e.server import Server

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://localhost:8080"


def commands(section: str) -> str:
    """The bash blocks of a section, in order."""
    _, _, rest = README.read_text("utf-8").partition(f"\n## {section}\n")
    text = rest.partition("\n## ")[0]
    return "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))


async def test_the_first_order_of_the_readme_is_paid(tmp_path: Path) -> None:
    script = commands("The first order")
    assert script.count("curl ") == 5
    assert ADDRESS in script
    async with Server(tmp_path / "data", "up", "--demo") as server:
        bash = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script.replace(ADDRESS, server.url)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, errors = await bash.communicate()
    assert (bash.returncode, errors) == (0, b"")
    listed, *_, order = answers(out.decode())
    assert [item["handle"] for item in listed["items"]]
    assert (order["status"], order["payment_status"]) == ("open", "paid")
    assert '"status":"open"' in out.decode()
    assert '"payment_status":"paid"' in out.decode()


@pytest.mark.parametrize("name", ["scripts/run", "scripts/test"])
def test_the_scripts_that_the_readme_names_are_there(name: str) -> None:
    assert name in README.read_text("utf-8")
    assert (README.parent / name).stat().st_mode & 0o111
