"""Live connections to a real server: through its end and its next start, and to several processes at once."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest

from tests.e2e.live import SOON, Live, live
from tests.e2e.replicas import owner_of, settled
from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, PatientShopper, Shopper, shopper
from tests.web.ws.live import HANDSHAKE


async def set_quantity(shop: Shopper, cart: Any, quantity: int) -> int:
    """One more version of the cart; gives it."""
    line = cart["lines"][0]["id"]
    version: int = (await shop.ok("PATCH", f"/carts/{cart['id']}/lines/{line}", {"quantity": quantity}))["version"]
    return version


@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
async def test_after_a_restart_of_the_server_clients_go_on_where_they_were(tmp_path: Path, orderly: bool) -> None:
    async with Server(tmp_path / "data") as server:
        async with shopper(server.url) as shop, live(server) as ada, live(server, **STAFF) as staff:
            await shop.stock("MUG", 100)
            await staff.subscribe("orders")
            cart = await shop.filled_cart("MUG")
            topic, last = f"cart:{cart['id']}", cart["version"]
            await ada.subscribe(topic, after=0)
            assert await ada.until(last) == list(range(1, last + 1))
            order = (await shop.order(cart)).json
            told = [await staff.next() for _ in range(order["version"])]
            assert [(frame["order"], frame["version"]) for frame in told] == [
                (order["id"], version) for version in range(1, order["version"] + 1)
            ]
            ends = asyncio.gather(ada.closed(), staff.closed())
            if orderly:
                assert await server.stop() == 0
            else:
                await server.kill()
            assert await ends == ([1012, 1012] if orderly else [1006, 1006])
        await server.start()
        async with shopper(server.url) as shop, live(server) as ada, live(server, **STAFF) as staff:
            ordered = (await shop.ok("GET", f"/carts/{cart['id']}"))["version"]
            await ada.subscribe(topic, after=last)
            assert await ada.until(ordered) == list(range(last + 1, ordered + 1))
            await staff.subscribe("orders", after=told[2]["position"])
            again = [await staff.next() for _ in told[3:]]
            assert [(frame["version"], frame["position"]) for frame in again] == [
                (frame["version"], frame["position"]) for frame in told[3:]
            ]
            await shop.ok("POST", f"/carts/{cart['id']}/lines", {"sku": "MUG", "quantity": 2})
            event = await ada.next()
            assert (event["version"], event["event"]) == (ordered + 1, "LineAdded")


async def test_a_flash_sale_is_followed_by_its_stock(tmp_path: Path) -> None:
    async with Server(tmp_path / "data") as server, shopper(server.url) as shop, live(server) as ada:
        await shop.stock("FLASH", 20)
        await ada.subscribe("inventory:FLASH")
        assert (await ada.next())["data"]["available"] == 20
        carts = [await shop.filled_cart("FLASH") for _ in range(20)]
        await asyncio.gather(*(shop.order(cart) for cart in carts))
        levels = [await ada.next()]
        while levels[-1]["data"]["on_hand"]:
            levels.append(await ada.next())
        assert levels[-1]["data"] == {"on_hand": 0, "held": 0, "available": 0, "version": levels[-1]["version"]}
        assert all(level["data"]["available"] >= 0 for level in levels)
        versions = [level["version"] for level in levels]
        assert versions == sorted(set(versions))


async def test_every_process_tells_of_what_any_process_does(dsn: str, broker_url: str, tmp_path: Path) -> None:
    settings = {"ULTRAMARKET_DATABASE_URL": dsn, "ULTRAMARKET_BROKER_URL": broker_url}
    async with Server(tmp_path / "data", "start", "--replicas", "2", settings=settings) as server:
        replicas = await settled(server, dsn, 2, set())
        async with shopper(server.url, PatientShopper) as shop, aiohttp.ClientSession() as session:
            await shop.stock("MUG", 1000)
            cart = await shop.filled_cart("MUG")
            lives = await _one_of_each(server, session, replicas)
            for each in lives:
                await each.subscribe(f"cart:{cart['id']}", after=cart["version"])
            last = cart["version"]
            for quantity in range(2, 22):
                last = await set_quantity(shop, cart, quantity)
            for each in lives:
                assert await each.until(last) == list(range(cart["version"] + 1, last + 1))
            owner = await owner_of(dsn, "cart", cart["id"])
            psutil.Process(owner).kill()
            kept = [each for each in lives if not await _ended(each)]
            assert kept
            answer = await shop.call("POST", f"/carts/{cart['id']}/lines", _MORE)
            for each in kept:
                assert (await each.until(answer.json["version"]))[0] == last + 1


_MORE = {"sku": "MUG", "quantity": 1}


async def _one_of_each(server: Server, session: aiohttp.ClientSession, replicas: set[int]) -> list[Live]:
    """Connections until every process has one; which one took it, the kernel decides."""
    lives: dict[int, Live] = {}
    async with asyncio.timeout(SOON):
        while lives.keys() != replicas:
            ws = await session.ws_connect(f"{server.url}/api/v1/ws")
            port = ws.get_extra_info("sockname")[1]
            for pid in replicas:
                ends = psutil.Process(pid).net_connections("tcp")
                if any(end.raddr and end.raddr.port == port for end in ends):
                    lives.setdefault(pid, Live(ws))
    return list(lives.values())


async def _ended(each: Live) -> bool:
    """Whether the other end has gone, once that can be known."""
    try:
        await each.ws.send_json({"type": "ping"})
        async with asyncio.timeout(SOON):
            message = await each.ws.receive()
    except ConnectionError:
        return True
    return message.type is not aiohttp.WSMsgType.TEXT


async def test_a_reader_that_is_too_slow_is_cut_and_goes_on_without_a_gap(tmp_path: Path) -> None:
    async with Server(tmp_path / "data") as server, shopper(server.url) as shop:
        await shop.stock("MUG", 100)
        cart = await shop.filled_cart("MUG")
        lazy = await Lazy.follow(server.url, f"cart:{cart['id']}")
        numbers = iter(range(2, 100_000))

        async def change() -> None:
            while not await _cut(shop):
                for _ in range(50):
                    await set_quantity(shop, cart, next(numbers) % 900 + 1)

        await asyncio.gather(*(change() for _ in range(8)))
        versions, code = await lazy.read_on()
        assert versions == list(range(cart["version"] + 1, versions[-1] + 1))
        assert code == 4008
        async with live(server) as ada:
            last = (await shop.ok("GET", f"/carts/{cart['id']}"))["version"]
            assert last > versions[-1]
            await ada.subscribe(f"cart:{cart['id']}", after=versions[-1])
            assert await ada.until(last) == list(range(versions[-1] + 1, last + 1))


async def _cut(shop: Shopper) -> bool:
    return b"ultramarket_ws_cut_total 1\n" in (await shop.call("GET", "/metrics")).body


class Lazy:
    """A client that follows a topic and reads nothing until it is told to; its socket has little room."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def follow(cls, url: str, topic: str) -> "Lazy":
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            reader, writer = await asyncio.open_connection(sock=sock.dup(), limit=1024)
        lazy = cls(reader, writer)
        head = [f"{name}: {value}" for name, value in {**HANDSHAKE, "Host": "shop"}.items()]
        writer.write("\r\n".join(["GET /api/v1/ws HTTP/1.1", *head, "", ""]).encode())
        await reader.readuntil(b"\r\n\r\n")
        text = msgspec.json.encode({"type": "subscribe", "topic": topic})
        writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        assert (await lazy._frame())[1].startswith(b'{"type":"subscribed"')
        return lazy

    async def read_on(self) -> tuple[list[int], int]:
        """The versions that had been sent, and the code of the close frame behind them."""
        versions: list[int] = []
        async with asyncio.timeout(SOON):
            while True:
                first, payload = await self._frame()
                if first == 0x88:
                    self._writer.close()
                    return versions, int.from_bytes(payload[:2])
                versions.append(msgspec.json.decode(payload)["version"])

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2))
        return first, await self._reader.readexactly(size)
