"""The adapter on real servers: what it declares and refuses, and that every close is told."""

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import psutil
import pytest
import pytest_asyncio
from yarl import URL

from tests.conformance.mailbox import delivery, hears, into
from tests.conformance.toys import Add, Courier, Toy, eventually
from tests.services.rabbitmq import RabbitServer
from ultramarket.adapters import rabbitmq_stream
from ultramarket.adapters.broker_mailbox import BrokerMailbox
from ultramarket.adapters.rabbitmq import RabbitMq
from ultramarket.adapters.rabbitmq_topology import mismatch, too_old, version_faults
from ultramarket.ports.asking import Answer
from ultramarket.ports.broker import BrokerLost, Channel, Incoming, Mismatch, Rejected, Unroutable
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.codec import KindCodec

CODECS = {part.kind: KindCodec(part) for part in (Toy(), Courier())}
Q = "um.cmd.toy.03"


@pytest_asyncio.fixture
async def channel(broker_url: str) -> AsyncIterator[Channel]:
    broker = RabbitMq(broker_url, max_length=3, delivery_limit=2)
    connection = await broker.connect("test")
    channel = await connection.channel()
    await channel.declare(Q)
    yield channel
    connection.close()
    await broker.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RabbitServer]:  # noqa: ARG001 - skips
    async with RabbitServer(tmp_path_factory.mktemp("node")) as node:
        yield node


# Publishing and consuming


async def test_messages_come_in_order_and_an_acknowledged_one_does_not_come_again(
    broker_url: str, channel: Channel
) -> None:
    got: list[Incoming] = []
    for body in (b"1", b"2"):
        await channel.publish(Q, body)
    await channel.consume(Q, 10, got.append)
    await eventually(lambda: [one.body for one in got] == [b"1", b"2"])
    assert [one.redelivered for one in got] == [False, False]
    channel.ack(got[0].tag)
    channel.close()
    broker = RabbitMq(broker_url, max_length=3, delivery_limit=2)
    connection = await broker.connect("second")
    again: list[Incoming] = []
    await (await connection.channel()).consume(Q, 10, again.append)
    await eventually(lambda: [(one.body, one.redelivered) for one in again] == [(b"2", True)])
    connection.close()
    await broker.close()


async def test_a_message_larger_than_a_frame_arrives_whole(channel: Channel) -> None:
    got: list[Incoming] = []
    body = bytes(range(256)) * 2000
    await channel.publish(Q, body)
    await channel.consume(Q, 10, got.append)
    await eventually(lambda: [one.body for one in got] == [body])


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(channel: Channel) -> None:
    async def refused() -> bool:
        try:
            await channel.publish(Q, b"x")
        except Rejected:
            return True
        return False

    # What is written at once may exceed the limit a little, see https://www.rabbitmq.com/docs/maxlength.
    await eventually(refused)
    await channel.consume(Q, 100, lambda one: channel.ack(one.tag))

    async def taken() -> bool:
        return not await refused()

    await eventually(taken)


async def test_a_message_for_no_queue_is_told_unless_that_does_not_matter(channel: Channel) -> None:
    with pytest.raises(Unroutable):
        await channel.publish("um.cmd.toy.99", b"x")
    with pytest.raises(Unroutable):
        await channel.publish("um.reply.nobody.1", b"x")
    await channel.publish("um.reply.nobody.1", b"x", mandatory=False)
    await channel.publish(Q, b"x")


async def test_what_nobody_can_read_or_comes_back_too_often_is_a_dead_letter(broker_url: str, channel: Channel) -> None:
    broker = RabbitMq(broker_url, max_length=3, delivery_limit=2)
    connection = await broker.connect("loser")
    first: list[Incoming] = []
    await channel.consume(Q, 1, first.append)
    await channel.publish(Q, b"rejected")
    await eventually(lambda: len(first) == 1)
    channel.reject(first[0].tag)
    await channel.publish(Q, b"lost again and again")
    channel.close()
    for _ in range(2):
        again: list[Incoming] = []
        other = await connection.channel()
        await other.consume(Q, 1, again.append)
        await eventually(lambda again=again: len(again) == 1)
        other.close()

    async def buried() -> bool:
        return (await broker.examine([Q])).dead == 2

    await eventually(buried)
    connection.close()
    await broker.close()


async def test_a_cancelled_consumer_acknowledges_what_it_holds(channel: Channel) -> None:
    got: list[Incoming] = []
    await channel.publish(Q, b"1")
    tag = await channel.consume(Q, 10, got.append)
    await eventually(lambda: len(got) == 1)
    await channel.cancel(tag)
    await channel.publish(Q, b"2")
    channel.ack(got[0].tag)
    assert [one.body for one in got] == [b"1"]
    assert not channel.closed.is_set()


# Closing


async def test_an_unknown_tag_closes_the_channel_and_nothing_else(broker_url: str) -> None:
    broker = RabbitMq(broker_url)
    connection = await broker.connect("test")
    channel, other = await connection.channel(), await connection.channel()
    await channel.declare(Q)
    channel.ack(99)
    confirm = channel.publish(Q, b"x")
    await channel.closed.wait()
    assert "unknown delivery tag 99" in channel.reason
    with pytest.raises(BrokerLost):
        await confirm
    with pytest.raises(BrokerLost):
        channel.publish(Q, b"x")
    with pytest.raises(BrokerLost):
        channel.ack(1)
    await other.publish(Q, b"x")
    connection.close()
    assert other.closed.is_set()
    with pytest.raises(BrokerLost):
        await connection.channel()
    await broker.close()


async def test_a_callback_that_fails_closes_its_channel(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Incoming) -> None:
        raise ValueError("it can't be taken")

    await channel.publish(Q, b"1")
    await channel.consume(Q, 10, fails)
    await channel.closed.wait()
    assert caplog.records == []  # it is in our own log, not in the library's


async def test_a_deleted_queue_closes_the_channels_that_consume_it(broker_url: str, channel: Channel) -> None:
    await channel.consume(Q, 10, lambda _: None)
    async with await aio_pika.connect(broker_url) as connection:
        await (await connection.channel()).queue_delete(Q)
    await channel.closed.wait()
    assert channel.reason == "the broker cancelled the consumer"


async def test_consuming_a_queue_that_is_not_there_is_refused(channel: Channel) -> None:
    with pytest.raises(BrokerLost, match=r"no queue 'um\.cmd\.toy\.09'"):
        await channel.consume("um.cmd.toy.09", 10, lambda _: None)
    assert channel.closed.is_set()


async def test_a_connection_that_the_broker_closes_is_told_with_all_its_channels(node: RabbitServer) -> None:
    await node.start()
    broker = RabbitMq(node.url)
    connection = await broker.connect("test")
    channel = await connection.channel()
    await channel.declare(Q)
    waiting = asyncio.ensure_future(channel.consume("um.cmd.toy.03", 1, lambda _: None))
    await waiting
    await node.close_all_connections("maintenance")
    await connection.closed.wait()
    assert channel.closed.is_set()
    assert "maintenance" in channel.reason
    await broker.close()


async def test_a_broker_that_dies_loses_nothing_that_was_confirmed_and_its_consumers_come_back(
    node: RabbitServer,
) -> None:
    await node.start()
    broker = RabbitMq(node.url)
    found: list[Delivery] = []
    owner, sender = (BrokerMailbox(broker, name, CODECS) for name in ("owner", "sender"))
    for process in (owner, sender):
        await process.start()
        await process.connected.wait()
    owner.open("toy", 3, into(found))
    assert sender.offer(delivery(1)) is True
    await eventually(lambda: hears(found) == [1])
    await node.sync()
    assert owner.lost_since() is None
    await node.kill()
    await eventually(lambda: not sender.connected.is_set() and owner.lost_since() is not None)
    assert sender.offer(delivery(2)) is True
    assert sender.offer(Delivery("toy", 3, "b", Add(n=1), "guest", "t", "c", answer=lambda _: None)) is False
    await node.start()
    await eventually(lambda: hears(found)[-1] == 2 and owner.lost_since() is None)
    for process in (owner, sender):
        await process.stop()


async def test_a_broker_that_is_silent_is_given_up(node: RabbitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_stream, "SILENCE_SECONDS", 4.0)  # more than from one heartbeat to the next
    await node.start()
    broker = RabbitMq(node.url)
    connection = await broker.connect("test")
    channel = await connection.channel()
    await channel.declare(Q)
    frozen = psutil.Process(node.pid)
    frozen.suspend()
    try:
        confirm = channel.publish(Q, b"x")
        await connection.closed.wait()
        with pytest.raises(BrokerLost):
            await confirm
        with pytest.raises(BrokerLost, match=r"does not answer|can't be reached"):
            await broker.connect("test")
    finally:
        frozen.resume()
    await broker.close()


# Draining


async def test_a_drained_partition_answers_what_arrived_and_the_next_owner_gets_the_rest(broker_url: str) -> None:
    broker = RabbitMq(broker_url)
    first, second, sender = (BrokerMailbox(broker, name, CODECS) for name in ("first", "second", "sender"))
    taken: list[Delivery] = []
    after: list[Delivery] = []
    answers: list[Answer | Exception] = []
    for process in (first, second, sender):
        await process.start()
        await process.connected.wait()
    first.open("toy", 3, into(taken))
    sender.offer(Delivery("toy", 3, "b", Add(n=1), "guest", "t", "c", answer=answers.append))
    await eventually(lambda: len(taken) == 1)
    draining = asyncio.ensure_future(first.drain("toy", 3))
    await eventually(lambda: not first._consuming)
    assert first.offer(delivery(2)) is True
    second.open("toy", 3, into(after))
    await eventually(lambda: hears(after) == [2])
    assert not draining.done()
    assert taken[0].answer is not None
    taken[0].answer(Answer(7))
    await draining
    await eventually(lambda: answers == [Answer(7)])
    assert hears(after) == [2]
    for process in (first, second, sender):
        await process.stop()


# What stands in the way


async def test_a_queue_with_other_arguments_is_told_with_what_to_do(broker_url: str) -> None:
    await RabbitMq(broker_url, max_length=100).prepare([Q])
    with pytest.raises(Mismatch) as caught:
        await RabbitMq(broker_url).prepare([Q])
    assert str(caught.value) == (
        "The queue um.cmd.toy.03 of RabbitMQ has x-max-length = 100, and this program needs 20000. Stop every replica, "
        "delete the queue and start again: it is made anew, and messages that were in it come from the database."
    )


async def test_an_argument_that_is_missing_is_told(broker_url: str) -> None:
    async with await aio_pika.connect(broker_url) as connection:
        await (await connection.channel()).declare_queue(Q, durable=True, arguments={"x-queue-type": "quorum"})
    with pytest.raises(Mismatch, match=r"um\.cmd\.toy\.03 of RabbitMQ has x-[a-z-]+ = nothing, and this program needs"):
        await RabbitMq(broker_url).prepare([Q])


def test_what_is_not_understood_is_passed_on() -> None:
    assert mismatch("PRECONDITION_FAILED - hm") == (
        "RabbitMQ does not take what this program declares: PRECONDITION_FAILED - hm"
    )


async def test_a_wrong_password_is_told_without_the_password(broker_url: str) -> None:
    url = str(URL(broker_url).with_password("not-this-one"))
    with pytest.raises(BrokerLost, match="does not let the user 'ultramarket' in: correct user and password") as caught:
        await RabbitMq(url).connect("test")
    assert "not-this-one" not in str(caught.value)


async def test_a_virtual_host_that_is_not_there_is_told(broker_url: str) -> None:
    with pytest.raises(BrokerLost, match="into the virtual host '/nowhere'"):
        await RabbitMq(str(URL(broker_url).with_path("/nowhere"))).connect("test")


async def test_a_server_that_is_not_there_is_told(unused_tcp_port: int) -> None:
    with pytest.raises(BrokerLost, match=f"RabbitMQ at 127.0.0.1:{unused_tcp_port} can't be reached: .*Connect"):
        await RabbitMq(f"amqp://u:p@127.0.0.1:{unused_tcp_port}/").connect("test")


async def test_a_server_without_tls_is_told(broker_url: str) -> None:
    with pytest.raises(BrokerLost, match=r"can't be reached over TLS: WRONG_VERSION_NUMBER\."):
        await RabbitMq(str(URL(broker_url).with_scheme("amqps"))).connect("test")


async def test_the_report_names_depths_and_what_is_missing(broker_url: str, channel: Channel) -> None:
    await channel.publish(Q, b"1")
    report = await RabbitMq(broker_url).examine(["um.cmd.toy.08", Q, "um.cmd.toy.09"])
    assert [(depth.queue, depth.messages, depth.consumers) for depth in report.depths] == [(Q, 1, 0)]
    assert report.missing == ["um.cmd.toy.08", "um.cmd.toy.09"]
    assert report.dead == 0


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("3.9.29", "too old"),
        ("3.10.0", ""),
        ("3.10.8", "a new channel each time"),
        ("3.13.7", ""),
        ("4.2.9", ""),
        ("4.3.0", "17317"),
        ("4.3.5", "17317"),
        ("4.3.6", ""),
        ("4.4.0-beta.1", ""),
        ("unknown", "can't be judged"),
    ],
)
def test_what_is_known_to_be_wrong_with_a_version(version: str, says: str) -> None:
    faults = version_faults(version)
    assert (says in " ".join(faults)) if says else faults == []
    assert too_old(version) is (version == "3.9.29")
