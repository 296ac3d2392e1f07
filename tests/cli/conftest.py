"""A command line to ask, and a platform that runs as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

COMMAND = (sys.executable, "-m", "ultramarket.cli")
END_SECONDS = 180
"""More than a process takes to end beside all the other tests: no test waits that long where nothing is wrong."""


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell that runs the tests counts."""
    for name in list(os.environ):
        if name.startswith("ULTRAMARKET_") and not name.startswith("ULTRAMARKET_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ULTRAMARKET_ENV", "test")


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


class Process:
    """A platform that runs, and what it said when it was ready."""

    def __init__(
        self,
        *arguments: str,
        command: tuple[str, ...] = COMMAND,
        stdin: int | None = None,
        stdout: int = subprocess.PIPE,
        start_new_session: bool = False,
        **environment: str,
    ) -> None:
        self.popen = subprocess.Popen(
            [*command, *arguments],
            stdin=stdin,
            stdout=stdout,
            start_new_session=start_new_session,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"ULTRAMARKET_ENV": "test"} | environment,
        )

    def ready(self) -> dict[str, Any]:
        """What it prints with --json once it serves."""
        assert self.popen.stdout is not None
        lines = []
        for line in self.popen.stdout:
            lines.append(line)
            if line == "}\n":
                said: dict[str, Any] = json.loads("".join(lines))
                return said
        raise AssertionError(f"it ended: {self.popen.stderr and self.popen.stderr.read()}")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; gives the exit code and the last of standard error."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, stderr = self.popen.communicate(timeout=END_SECONDS)
        return self.popen.returncode, stderr

    def close(self) -> None:
        self.popen.kill()
        self.popen.communicate()


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts commands as processes; what still runs at the end of the test is ended."""
    processes: list[Process] = []

    def begin(*arguments: str, **options: Any) -> Process:
        processes.append(Process(*arguments, **options))
        return processes[-1]

    yield begin
    for process in processes:
        process.close()


@pytest.fixture(scope="session")
def kept_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The data directory of a demo shop that runs for the whole session, and what it said; tests only add to it."""
    data_dir = tmp_path_factory.mktemp("shop")
    process = Process("up", "--demo", "--port", "0", "--json", "--data-dir", str(data_dir))
    try:
        yield data_dir, process.ready()
    finally:
        process.close()
