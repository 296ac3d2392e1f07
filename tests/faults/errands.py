"""What buyers and staff seldom do, done again and again, so that every step of every saga is gone all the time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

import aiohttp

from tests.e2e.catalogue import catalogue
from tests.e2e.shopper import BUYER, STAFF, Answer, purchase
from tests.faults.buyers import AGAIN_SECONDS, Buyers

SETTINGS = {
    "ULTRAMARKET_CART__MAX_LINES": "2",
    "ULTRAMARKET_CART__QUOTE_LOCK_SECONDS": "1",
    "ULTRAMARKET_ORDER__ACTION_SECONDS": "4",
    "ULTRAMARKET_ORDER__FREEZE_SECONDS": "1",
    "ULTRAMARKET_ORDER__HOLD_SECONDS": "1",
}
"""A third line is too many, and prices, holds and the buyer's time run out while somebody waits for it."""
LOCK_SECONDS = 1.2
"""After this time a price is not honoured any more."""
VARIANTS = 1_500


class Regulars(Buyers):
    """A few ordinary buyers, and one of each who do something rare."""

    def everybody(self, _buyers: int) -> list[Coroutine[Any, Any, None]]:
        """Fewer of the ordinary ones, to leave room for the others."""
        errands = (self.merge, self.order_too_early, self.haggle, self.act_too_late, self.review)
        return [*super().everybody(5), *(self._again(errand) for errand in errands)]

    async def _again(self, errand: Callable[[], Awaitable[None]]) -> None:
        while not self._stopped:
            await errand()

    async def merge(self) -> None:
        """A cart is merged into one that has no room for it, then into one that has; the buyer changes his mind."""
        source, full, empty = [(await self._insist("POST", "/carts", {})).json["id"] for _ in range(3)]
        first, second, third = self._skus[-3:]
        for cart, sku in ((source, third), (full, first), (full, second)):
            await self._insist("POST", f"/carts/{cart}/lines", {"sku": sku, "quantity": 1})
        refused = await self._insist("POST", f"/carts/{full}/merge", {"from": source}, also=422)
        merged = await self._insist("POST", f"/carts/{empty}/merge", {"from": source})
        left = (await self._insist("GET", f"/carts/{source}", None)).json
        lines = merged.json["lines"]
        if refused.status != 422 or [line["sku"] for line in lines] != [third] or left["lines"]:
            self.memory.odd.append(f"merged {source}: {refused.body!r}, then {merged.body!r}; left is {left}")
        path = f"/carts/{empty}/lines/{lines[0]['id']}"
        self.memory.cart((await self._insist("PATCH", path, {"quantity": 3})).json)

    async def order_too_early(self) -> None:
        """A cart without an address is ordered."""
        cart = await self._cart(self._skus[-1], ready=False)
        order = (await self._order(cart, "ok")).json
        if order["status"] not in ("pending", "rejected"):
            self.memory.odd.append(f"an order without an address is {order}")

    async def haggle(self) -> None:
        """A price moves after it went into a cart, and the buyer comes when it is not honoured any more."""
        product = await self._product(f"MOVED-{self._key()[-6:]}")
        sku, path = product["variants"][0]["sku"], f"/products/{product['id']}"
        await self.receive(sku, 5)
        cart = await self._cart(sku)
        dearer = {"variants": [{"sku": sku, "price": {"amount": "19.90", "currency": "USD"}}]}
        await self._insist("PATCH", path, dearer, headers=STAFF)
        await asyncio.sleep(LOCK_SECONDS)  # as a buyer does who goes away for a while
        order = (await self._order(cart, "ok")).json
        if order["status"] not in ("pending", "rejected"):
            self.memory.odd.append(f"the price of {cart} moved, and the order is {order}")
        await self._insist("DELETE", path, None, headers=STAFF)

    async def act_too_late(self) -> None:
        """The hold of a buyer who has to act runs out, and another one gets the last piece before he does."""
        product = await self._product(f"LAST-{self._key()[-6:]}")
        sku = product["variants"][0]["sku"]
        await self.receive(sku, 1)
        cart = await self._cart(sku)
        order = (await self._order(cart, "requires_action")).json
        await self._until(f"/inventory/{sku}", lambda stock: stock["held"] == 0)
        await self._order(await self._cart(sku), "ok")
        order = (await self._insist("GET", f"/orders/{order['id']}", None)).json
        self.memory.order(order)
        if order["status"] == "awaiting_payment":
            path = f"/payments/{order['payment']['id']}/sandbox/authenticate"
            await self._insist("POST", path, {"outcome": "ok"}, also=409)
        await self._order(await self._cart(sku), "ok")

    async def review(self) -> None:
        """A product is reviewed; staff publish that, and one who reads it votes twice."""
        path, new = f"/products/goods-{self._skus[-1].lower()}/reviews", {"rating": 4, "author": "Ada"}
        written = (await self._insist("POST", path, new)).json
        await self._insist("PATCH", f"/reviews/{written['id']}", {"status": "published"}, headers=STAFF)
        for helpful in (False, True):
            vote = {"voter": "one-who-reads-it-carefully", "helpful": helpful}
            shown = (await self._insist("POST", f"/reviews/{written['id']}/votes", vote)).json
        if (shown["status"], shown["helpful"], shown["unhelpful"]) != ("published", 1, 0):
            self.memory.odd.append(f"a review that was published and voted on is {shown}")

    async def line(self, sku: str) -> str:
        """A new cart with a piece of a SKU; gives its id."""
        return str((await self._cart(sku, ready=False))["id"])

    async def merged(self, source: str, target: str, key: str) -> list[str]:
        """The SKUs of a cart once another one was merged into it."""
        answer = await self._insist("POST", f"/carts/{target}/merge", {"from": source}, key=key)
        return [line["sku"] for line in answer.json["lines"]]

    async def _until(self, path: str, done: Callable[[Any], bool]) -> Any:
        """Ask for something until it is so; gives it."""
        while not done(shown := (await self._insist("GET", path, None, headers=STAFF)).json):  # noqa: ASYNC110 - a server does it
            await asyncio.sleep(AGAIN_SECONDS)
        return shown

    async def _product(self, sku: str) -> Any:
        variant = {"sku": sku, "price": {"amount": "12.90", "currency": "USD"}}
        body = {"title": f"Goods {sku}", "handle": sku.lower(), "status": "published", "variants": [variant]}
        return (await self._insist("POST", "/products", body, headers=STAFF)).json

    async def _cart(self, sku: str, *, ready: bool = True) -> Any:
        cart = (await self._insist("POST", "/carts", {})).json
        cart = (await self._insist("POST", f"/carts/{cart['id']}/lines", {"sku": sku, "quantity": 1})).json
        if ready:
            cart = (await self._insist("PATCH", f"/carts/{cart['id']}", BUYER)).json
        self.memory.cart(cart)
        return cart

    async def _order(self, cart: Any, method: str) -> Answer:
        answer = await self._insist("POST", "/orders", purchase(cart, method))
        self.memory.order(answer.json)
        return answer


class Importing(Regulars):
    """The same, while staff bring product files in."""

    def everybody(self, buyers: int) -> list[Coroutine[Any, Any, None]]:
        """One more."""
        return [*super().everybody(buyers), self._again(self.bring_in)]

    async def bring_in(self) -> None:
        """A product file, to its end."""
        key = self._key()
        name = f"file{key[-6:]}"
        headers = {**STAFF, "Content-Type": "text/csv", "Idempotency-Key": key}
        text, url, job = catalogue(VARIANTS, name), f"{self._client.url}/api/v1/imports", ""
        while not job:
            try:
                async with self._client.session.post(url, data=text, headers=headers) as response:
                    job = (await response.json())["id"] if response.status == HTTPStatus.ACCEPTED else ""
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(AGAIN_SECONDS)
        shown = await self._until(f"/imports/{job}", lambda shown: shown["status"] != "running")
        counts = (shown["status"], shown["products"] + shown["unchanged"], shown["refused_total"])
        if counts != ("done", VARIANTS // 10, 0):
            self.memory.odd.append(f"an import of {VARIANTS} variants ended as {shown}")
        self.memory.received.update({f"{name.upper()}-{number}": 7 for number in range(VARIANTS)})
        await self.mark_down(f"{name.upper()}-0")

    async def mark_down(self, sku: str) -> None:
        """Prices by SKU."""
        items = [{"sku": sku, "prices": {"USD": {"amount": "9.90", "currency": "USD"}}}]
        key, status = self._key(), 503
        while status == 503:
            answer = (await self._insist("POST", "/products/prices", {"items": items}, key=key, headers=STAFF)).json
            status = answer["items"][0]["status"]
        if status != 200:
            self.memory.odd.append(f"the price of {sku} was not set: {answer}")


class Curating(Regulars):
    """The same, while staff tend categories, collections and redirects."""

    def everybody(self, buyers: int) -> list[Coroutine[Any, Any, None]]:
        """One more."""
        return [*super().everybody(buyers), self._again(self.curate)]

    async def curate(self) -> None:
        """A branch of the tree, a collection and a redirect come, change and go."""
        name = f"curated-{self._key()[-6:]}"
        product = (await self._product(name.upper()))["id"]
        top = await self._made("/categories", {"title": name, "handle": name})
        below = await self._made("/categories", {"title": "Below", "parent": top})
        moved = await self._changed("PATCH", f"/categories/{below}", {"parent": None, "description": "moved"})
        gifts = await self._made("/collections", {"title": name, "products": [product]})
        await self._changed("POST", f"/collections/{gifts}/products", {"product": product, "position": 0})
        changed = await self._changed("PATCH", f"/collections/{gifts}", {"handle": f"{name}-new"})
        empty = await self._changed("DELETE", f"/collections/{gifts}/products/{product}")
        redirect = await self._made("/redirects", {"from": f"/{name}", "to": "/"})
        if (moved["path"], changed["products"], empty["products"]) != ([], [product], []):
            self.memory.odd.append(f"{name}: {moved}, {changed}, {empty}")
        for path in (f"/categories/{top}", f"/categories/{below}", f"/collections/{gifts}", f"/redirects/{redirect}"):
            await self._changed("DELETE", path)
        await self._changed("DELETE", f"/products/{product}")

    async def _made(self, path: str, body: Any) -> str:
        return str((await self._insist("POST", path, body, headers=STAFF)).json["id"])

    async def _changed(self, method: str, path: str, body: Any = None) -> Any:
        return (await self._insist(method, path, body, headers=STAFF)).json
