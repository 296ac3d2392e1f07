"""The RabbitMQ servers that tests run against: the shared one, and nodes that a fault test has for itself."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import psutil
import pytest
import pytest_asyncio
from aio_pika.exceptions import ConnectionClosed, DeliveryError

from tests.services.given import url_of
from tests.services.management import Management
from tests.services.rabbitmq import SERVICES, RabbitServer, run

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RabbitServer]:  # noqa: ARG001 - skips
    async with RabbitServer(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest_asyncio.fixture
async def server(node: RabbitServer) -> RabbitServer:
    """The node of these tests, running, whatever the test before did to it."""
    await node.start()
    return node


async def test_a_confirmed_message_in_a_quorum_queue_survives_the_kill_of_its_node(server: RabbitServer) -> None:
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments=QUORUM)
        await server.sync()
        await channel.default_exchange.publish(aio_pika.Message(b"still here", delivery_mode=2), "kept")
        killed = server.pid
        await server.kill()
        assert not psutil.pid_exists(killed)
    await server.start()
    assert server.pid != killed
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True, arguments=QUORUM)
        message = await queue.get(timeout=10)
        await message.ack()
        assert message.body == b"still here"


async def test_the_process_that_is_killed_is_the_node_itself(server: RabbitServer) -> None:
    assert psutil.Process(server.pid).name().startswith("beam")


async def test_the_broker_closes_its_clients_connections_with_the_reason(server: RabbitServer) -> None:
    connection = await aio_pika.connect(server.url)
    closed = asyncio.get_running_loop().create_future()
    connection.close_callbacks.add(lambda _, why: closed.set_result(why))
    await server.close_all_connections("maintenance")
    why = await asyncio.wait_for(closed, 10)
    assert isinstance(why, ConnectionClosed)
    assert "maintenance" in str(why)


async def test_a_blocked_node_has_a_memory_alarm_until_it_is_unblocked(server: RabbitServer) -> None:
    assert not await server.management.alarmed()
    await server.block()
    assert await server.management.alarmed()
    await server.unblock()
    assert not await server.management.alarmed()


async def test_a_queue_with_a_largest_length_refuses_what_is_beyond_it(server: RabbitServer) -> None:
    await server.set_max_length("^short$", 2)
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("short", durable=True)
        for body in (b"1", b"2"):
            await channel.default_exchange.publish(aio_pika.Message(body), "short")
        with pytest.raises(DeliveryError):
            await channel.default_exchange.publish(aio_pika.Message(b"3"), "short")


async def test_a_process_whose_number_stands_in_a_pid_file_but_is_another_s_is_not_ended(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "rabbitmq").mkdir()
        (tmp_path / "rabbitmq" / "rabbitmq.pid").write_text(f"{bystander.pid}\n")
        (tmp_path / "rabbitmq" / "rabbitmq.mark").write_text(f"-home {tmp_path}/rabbitmq\n")
        await run(SERVICES, "stop", tmp_path)
        assert bystander.poll() is None
        assert not (tmp_path / "rabbitmq" / "rabbitmq.pid").exists()
    finally:
        bystander.kill()
        bystander.communicate()


async def test_a_stop_where_nothing_was_started_does_nothing(tmp_path: Path) -> None:
    assert await run(SERVICES, "stop", tmp_path / "nowhere") == ""


async def test_a_service_that_does_not_exist_is_refused_with_the_usage(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"scripts/services start DIR \[rabbitmq\]"):
        await run(SERVICES, "start", tmp_path, "kafka")


async def test_each_test_has_an_empty_virtual_host_of_its_own(broker_url: str) -> None:
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("mine", durable=True, arguments=QUORUM)
    name = urlsplit(broker_url).path.removeprefix("/")
    queues = await Management(url_of("ULTRAMARKET_TEST_RABBITMQ_MANAGEMENT_URL")).do("GET", "queues", name)
    assert [queue["name"] for queue in queues] == ["mine"]


async def test_a_virtual_host_is_deleted_with_its_queues(rabbitmq_url: str) -> None:
    management = Management(url_of("ULTRAMARKET_TEST_RABBITMQ_MANAGEMENT_URL"))
    async with management.virtual_host() as name:
        url = urlsplit(rabbitmq_url)._replace(path=f"/{name}").geturl()
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("mine", durable=True, arguments=QUORUM)
    status, _ = await management.ask("GET", "vhosts", name)
    assert status == 404


def test_a_missing_service_skips_the_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ULTRAMARKET_TEST_REDIS_URL", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="ULTRAMARKET_TEST_REDIS_URL is not set: run scripts/test"):
        url_of("ULTRAMARKET_TEST_REDIS_URL")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="ULTRAMARKET_TEST_REDIS_URL is not set: run scripts/test"):
        url_of("ULTRAMARKET_TEST_REDIS_URL")


def test_the_variables_of_the_services_are_readable_by_their_owner_alone(server: RabbitServer) -> None:
    assert server.environment.stat().st_mode & 0o077 == 0


async def test_after_its_stop_no_process_is_left_and_the_shared_server_still_answers(
    rabbitmq_url: str, server: RabbitServer
) -> None:
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    family.append(psutil.Process(int((server.environment.parent / "rabbitmq" / "epmd.pid").read_text())))
    where = urlsplit(server.url)
    await server.stop()
    # The node's helper processes end by themselves when they see that it is gone.
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
    assert alive == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(where.hostname, where.port)
    async with await aio_pika.connect(rabbitmq_url) as connection:
        assert not connection.is_closed
