"""doctor with a broker."""

import asyncio

import aio_pika
import pytest
from typer.testing import CliRunner
from yarl import URL

from tests.cli.test_database_commands import findings, shop
from ultramarket.adapters.broker_mailbox import queue_of
from ultramarket.adapters.rabbitmq import RabbitMq
from ultramarket.adapters.rabbitmq_topology import DEAD_LETTERS

__all__ = ["shop"]  # the fixture


@pytest.fixture
def broker(shop: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shop with a broker."""
    del shop
    monkeypatch.setenv("ULTRAMARKET_BROKER_URL", broker_url)
    return broker_url


def test_doctor_tells_the_version_and_what_waits(runner: CliRunner, broker: str) -> None:
    code, found = findings(runner)
    assert code == 0
    assert found["broker"][0] in ("ok", "warning")
    assert found["broker"][1].startswith("RabbitMQ ")
    assert found["queues"] == ("ok", "There are none yet: the first process that starts makes them.")
    assert found["dead letters"] == ("ok", "There is none.")

    async def fill() -> None:
        mq = RabbitMq(broker)
        await mq.prepare([queue_of("cart", 7)])
        connection = await mq.connect("test")
        channel = await connection.channel()
        await channel.publish(queue_of("cart", 7), b"x")
        connection.close()
        await mq.close()
        async with await aio_pika.connect(broker) as other:
            exchange = await (await other.channel()).get_exchange(DEAD_LETTERS)
            await exchange.publish(aio_pika.Message(b"dead"), "")

    asyncio.run(fill())
    code, found = findings(runner)
    assert code == 0
    assert found["queues"] == (
        "warning",
        "1 messages wait in 1 queues; nobody takes those in um.cmd.cart.07: is a process running?",
    )
    assert found["dead letters"][0] == "warning"
    assert found["dead letters"][1].startswith("1 lie in um.dead: ")


@pytest.mark.usefixtures("shop")
def test_doctor_tells_of_a_broker_that_does_not_let_us_in(
    runner: CliRunner, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ULTRAMARKET_BROKER_URL", str(URL(broker).with_password("hunter2")))
    code, found = findings(runner)
    assert code == 1
    assert found["broker"][0] == "failed"
    assert "correct user and password of the URL" in found["broker"][1]
    assert "hunter2" not in found["broker"][1]
