"""A RabbitMQ node of a test's own, for faults that would disturb the neighbours on the one that tests share."""

import asyncio
import re
from asyncio.subprocess import DEVNULL, STDOUT
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import psutil

from tests.services.management import Management

SERVICES = Path(__file__).parents[2] / "scripts" / "services"
_WATERMARK = "0.4"  # as `scripts/services` starts it


async def run(*command: str | Path) -> str:
    """Run a command to its end and give what it said.

    Raises:
        RuntimeError: it failed; the text holds what it said.
    """
    # A file, because servers that the command leaves behind inherit a pipe under uvloop: it would never end.
    with TemporaryFile() as out:
        process = await asyncio.create_subprocess_exec(*map(str, command), stdin=DEVNULL, stdout=out, stderr=STDOUT)
        code = await process.wait()
        out.seek(0)
        said = out.read().decode("utf-8", "replace")
    if code != 0:
        raise RuntimeError(f"{command} gave {code}: {said}")
    return said


class RabbitServer:
    """A node below a directory, to be killed, blocked and started again: `async with RabbitServer(tmp_path) as server`.

    Its ports and its secrets stay the same over all its starts.

    Attributes:
        url: where it speaks AMQP, virtual host `/`.
        management: its management interface.
        environment: the file of variables that names both, for processes that the test starts.
    """

    url: str
    management: Management

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._node = directory / "rabbitmq"
        self.environment = directory / "environment"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The process of the node while it runs."""
        return int((self._node / "rabbitmq.pid").read_text())

    async def start(self) -> None:
        """Start it, or start it again on the data that it left; returns when it answers."""
        await run(SERVICES, "start", self._directory, "rabbitmq")
        said = dict(re.findall(r"^export (\w+)=(.*)$", self.environment.read_text(), re.MULTILINE))
        self.url = said["ULTRAMARKET_TEST_RABBITMQ_URL"]
        self.management = Management(said["ULTRAMARKET_TEST_RABBITMQ_MANAGEMENT_URL"])

    async def stop(self) -> None:
        """End it and its port mapper."""
        await run(SERVICES, "stop", self._directory)

    async def kill(self) -> None:
        """End the node as kill -9 does; returns when the process is gone."""
        node = psutil.Process(self.pid)
        node.kill()
        await asyncio.to_thread(node.wait)

    async def sync(self) -> None:
        """Have the node write what was declared to its disk, as it does by itself about once a second.

        A quorum queue whose node dies before that comes back without a leader, and whoever consumes from it waits for
        ever (`name_not_registered`, https://github.com/rabbitmq/rabbitmq-server/issues/15725; seen with 3.10.8).
        """
        await self._ctl("eval", "[dets:sync(Table) || Table <- dets:all()], catch mnesia:sync_log().")

    async def close_all_connections(self, reason: str) -> None:
        """Close each client's connection from the broker's side, with 320 CONNECTION_FORCED and the reason."""
        await self._ctl("close_all_connections", reason)

    async def block(self) -> None:
        """Raise the memory alarm: whoever publishes is blocked until `unblock`, consumers go on."""
        await self._ctl("set_vm_memory_high_watermark", "0")

    async def unblock(self) -> None:
        """Take the memory alarm back."""
        await self._ctl("set_vm_memory_high_watermark", _WATERMARK)

    async def set_max_length(self, pattern: str, length: int) -> None:
        """Let the queues whose name the regular expression matches refuse messages beyond a length."""
        await self.management.set_max_length(pattern, length)

    async def _ctl(self, *arguments: str) -> None:
        await run("bash", "-c", 'source "$0" && exec rabbitmqctl --quiet "$@"', self._node / "node", *arguments)
