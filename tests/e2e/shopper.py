"""A client of the shop's HTTP API: staff who bring goods in, and buyers with whole purchases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec

from tests.e2e.server import STAFF_KEY

BUYER = {
    "email": "ada@example.com",
    "shipping_method": "standard",
    "shipping_address": {
        "name": "Ada L.",
        "line1": "12 Mill Lane",
        "city": "Albany",
        "region": "NY",
        "postal_code": "12207",
        "country": "US",
    },
}
STAFF = {"Authorization": f"Bearer {STAFF_KEY}"}
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 300.0


@dataclass(slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as plain data."""
        return msgspec.json.decode(self.body)


@dataclass
class Shopper:
    """Calls the API; `seen` counts the answers by status, for "no 5xx"."""

    url: str
    session: aiohttp.ClientSession
    seen: dict[int, int] = field(default_factory=dict)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """One request below /api/v1, or of an absolute path such as /health/ready.

        Raises:
            aiohttp.ClientError: there was no answer.
        """
        sent = {**headers, **({"Idempotency-Key": key} if key else {})}
        address = f"{self.url}{path}" if path.startswith(("/health", "/metrics")) else f"{self.url}/api/v1{path}"
        async with self.session.request(method, address, json=body, headers=sent) as response:
            answer = Answer(response.status, await response.read(), response.headers.copy())
        self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
        return answer

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A request that has to succeed; gives the JSON."""
        answer = await self.call(method, path, body, **more)
        assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json

    async def stock(self, sku: str, pieces: int, *, price: str = "12.90", handle: str | None = None) -> Any:
        """Staff bring a product of one variant in, with that many pieces; gives the product."""
        product = await self.ok(
            "POST",
            "/products",
            {
                "title": f"Goods {sku}",
                "handle": handle or f"goods-{sku.lower()}",
                "status": "published",
                "variants": [{"sku": sku, "price": {"amount": price, "currency": "USD"}}],
            },
            headers=STAFF,
        )
        adjustment = {"delta": pieces, "reason": "received"}
        await self.ok("POST", f"/inventory/{sku}/adjustments", adjustment, headers=STAFF)
        return product

    async def filled_cart(self, *skus: str, quantity: int = 1) -> Any:
        """A cart that can be ordered."""
        cart = await self.ok("POST", "/carts", {})
        for sku in skus:
            await self.ok("POST", f"/carts/{cart['id']}/lines", {"sku": sku, "quantity": quantity})
        return await self.ok("PATCH", f"/carts/{cart['id']}", BUYER)

    async def order(
        self, cart: Any, method: str = "ok", *, key: str | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Order a cart as it is."""
        return await self.call("POST", "/orders", purchase(cart, method), key=key, headers=headers)

    async def until(self, path: str, **wanted: Any) -> Any:
        """Ask for a resource until its fields are as wanted; gives it.

        Raises:
            TimeoutError: they did not become so; the text says how it stood last.
        """
        shown: Any = None
        try:
            async with asyncio.timeout(30):
                while True:
                    shown = await self.ok("GET", path, headers=STAFF)
                    if all(shown[name] == value for name, value in wanted.items()):
                        return shown
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{path} did not become {wanted}: {shown}") from None

    async def level(self, sku: str) -> tuple[int, int]:
        """Pieces on hand and held."""
        shown = await self.ok("GET", f"/inventory/{sku}")
        return shown["on_hand"], shown["held"]


class PatientShopper(Shopper):
    """One who repeats a request under its key while it has no answer, or is told to come back later."""

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """One request, repeated until it is answered for good.

        Raises:
            TimeoutError: it was not within `PATIENCE_SECONDS`; the text says what was heard last.
        """
        if method != "GET":
            key = key or f"patient-{uuid4()}"
        heard = "nothing"
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    try:
                        answer = await super().call(method, path, body, key=key, headers=headers)
                    except (aiohttp.ClientError, OSError) as error:
                        heard = repr(error)
                    else:
                        if not _comes_later(answer):
                            return answer
                        heard = f"{answer.status} {answer.body!r}"
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{method} {path} was not answered; heard last: {heard}") from None


def _comes_later(answer: Answer) -> bool:
    """Whether the shop says that the request was not done yet: it can't just now, or an earlier one is under way."""
    return answer.status == 503 or (answer.status == 409 and answer.json["code"] == "in_progress")


def purchase(cart: Any, method: str = "ok") -> dict[str, Any]:
    """The body of POST /orders."""
    payment = {"gateway": "sandbox", "method": method}
    return {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}


@asynccontextmanager
async def shopper(url: str, kind: type[Shopper] = Shopper) -> AsyncIterator[Shopper]:
    """A shopper with as many connections as it wants."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield kind(url, session)
