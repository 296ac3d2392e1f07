"""The mailbox over a real RabbitMQ passes the contract of every mailbox."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.mailbox import MailboxContract, Rest
from tests.conformance.toys import Courier, Toy, eventually
from ultramarket.adapters.broker_mailbox import BrokerMailbox
from ultramarket.adapters.rabbitmq import RabbitMq
from ultramarket.ports.mailbox import Mailbox
from ultramarket.runtime.codec import KindCodec

CODECS = {part.kind: KindCodec(part) for part in (Toy(), Courier())}


class Contract(MailboxContract):
    """The contract over RabbitMQ."""

    direct = False

    @pytest_asyncio.fixture
    async def mailbox(self, broker_url: str) -> AsyncIterator[Mailbox]:
        made = BrokerMailbox(RabbitMq(broker_url), "p1", CODECS, direct=self.direct)
        await made.start()
        await made.connected.wait()
        yield made
        await made.stop()

    @pytest.fixture
    def rest(self, broker_url: str, mailbox: Mailbox) -> Rest:
        broker = RabbitMq(broker_url)

        async def nothing_waits() -> bool:
            assert isinstance(mailbox, BrokerMailbox)
            consumed = {f"um.cmd.{kind}.{no:02d}" for kind, no in mailbox._doors}
            report = await broker.examine(sorted(consumed))
            return mailbox.idle() and all(depth.messages == 0 for depth in report.depths)

        async def quiet() -> None:
            await asyncio.sleep(0)
            await eventually(nothing_waits)

        return quiet


class TestRabbitMqMailbox(Contract):
    """Everything goes through RabbitMQ."""


class TestDirectRabbitMqMailbox(Contract):
    """What is for the process itself skips RabbitMQ."""

    direct = True
