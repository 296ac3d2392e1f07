"""A real server process of the platform, on a port and a data directory of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ultramarket.adapters.embedded_postgres import running_dsn

STAFF_KEY = "e2e-staff-key-0123456789"
START_SECONDS = 60.0
STOP_SECONDS = 40.0


class Died(Exception):
    """The process ended instead of serving.

    Attributes:
        code: its exit status, negative for a signal.
        said: what it wrote to standard error in this life.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"the server ended with {code}: {said[-3000:]}")
        self.code = code
        self.said = said


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server that can be killed and started again on the same data; the port stays.

    Args:
        data_dir: its data directory, made at the first start.
        command: the subcommand of `ultramarket` and its flags.
        measured: whether it counts for the coverage, where that is taken; a process that is killed can't say anyway.
        settings: further environment, e.g. `{"ULTRAMARKET_ORDER__STEP_SECONDS": "2"}`.
    """

    def __init__(self, data_dir: Path, *command: str, measured: bool = True, settings: Mapping[str, str] = {}) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{free_port()}"
        self._command = command or ("serve",)
        self._hidden = ("ULTRAMARKET_",) if measured else ("ULTRAMARKET_", "COVERAGE_")
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self._begin = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            try:
                await self.stop()
            except TimeoutError:
                await self.kill()
                raise

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        """The embedded database, while the server runs."""
        dsn = running_dsn(self.data_dir)
        assert dsn is not None
        return dsn

    def said(self) -> str:
        """What this life of the server wrote to its log."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode("utf-8", "replace")

    async def start(self, **settings: str) -> None:
        """Start it and wait until it serves.

        Raises:
            Died: it ended before that.
        """
        assert self._process is None
        given = {name: value for name, value in os.environ.items() if not name.startswith(self._hidden)}
        environment = {**given, "ULTRAMARKET_STAFF_KEY": STAFF_KEY, **self._settings, **settings}
        port = self.url.rpartition(":")[2]
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._begin = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "ultramarket.cli", *self._command, "--json", "--port", port, "--data-dir", str(self.data_dir)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        try:
            await self._ready(self._process)
        except BaseException:
            if self._process is not None:
                await self.kill()
            raise

    async def kill(self) -> None:
        """Kill -9, as an operator or the kernel does, and wait for the end of it."""
        assert self._process is not None
        self._process.kill()
        await self.ended()

    async def stop(self) -> int:
        """Ask it to stop in order; gives the exit status."""
        assert self._process is not None
        self._process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Wait until the process ends by itself, or of a failpoint; gives the exit status."""
        assert self._process is not None
        async with asyncio.timeout(STOP_SECONDS):
            code = await self._process.wait()
        self._process = None
        return code

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Read what it says when it serves: a JSON object."""
        assert process.stdout is not None
        text = b""
        async with asyncio.timeout(START_SECONDS):
            while line := await process.stdout.readline():
                text += line
                if line == b"}\n":
                    assert msgspec.json.decode(text)["url"] == self.url
                    return
        raise Died(await self.ended(), self.said())


KILLED = -signal.SIGKILL
"""The exit status of a process that was killed."""
