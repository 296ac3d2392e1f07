"""A shop in memory, as the web layer is given it."""

from decimal import Decimal
from typing import Any, Literal

from aiohttp.test_utils import TestClient

from actors import Cart, Inventory, Order, Product
from tests.web.fakes import FakeActors, FakeUploads, FakeVault
from ultramarket.adapters.access_log import through_structlog
from ultramarket.domain.money import Money
from ultramarket.domain.shop import Channel, ShippingMethod, ShopRules
from ultramarket.messages.inventory import AdjustStock
from ultramarket.messages.product import CreateProduct, Media, Variant
from ultramarket.ports.search import FacetValue
from ultramarket.runtime.telling import Teller
from ultramarket.views.pages import Page, read_cursor
from ultramarket.views.products import FoundProduct, FoundProducts, SuggestedProducts
from ultramarket.views.reviews import Ratings
from ultramarket.views.tailer import Tailer
from web.services import Shop

STAFF = {"Authorization": "Bearer staff-key-of-the-tests"}
RULES = ShopRules(
    channels=(Channel(name="default", currency="USD", country="US", language="en", prices_include_tax=False),),
    shipping=(ShippingMethod(code="standard", title={"en": "Standard"}, unpriced="free"),),
)

Client = TestClient[Any, Any]


class FakeViews:
    """Lists of what was put into them, one page long."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.asked: list[Any] = []
        self.waited: list[tuple[str, int, int]] = []
        self.shows = True
        self.stands: str | None = None
        self.asked_for: tuple[tuple[str, ...], bool] = ((), False)
        self.typed: tuple[str, str, int] | None = None

    async def find(self, filters: Any, limit: int = 24, cursor: str | None = None) -> Page[Any]:
        if cursor is not None:
            read_cursor(cursor, "newest", str)
        self.asked.append(filters)
        return Page(items=tuple(self.items[:limit]), next=None)

    async def search(
        self,
        filters: Any,
        limit: int = 24,
        cursor: str | None = None,
        *,
        facets: tuple[str, ...] = (),
        highlight: bool = False,
    ) -> FoundProducts:
        self.asked_for = (facets, highlight)
        ten = FacetValue(value="10-20", count=2, min=Decimal(10), below=Decimal(20))
        counted: dict[str, tuple[FacetValue, ...]] = dict.fromkeys(facets, (ten,))
        return FoundProducts(await self.find(filters, limit, cursor), counted)

    async def suggest(self, text: str, language: str = "en", limit: int = 5) -> SuggestedProducts:
        self.typed = (text, language, limit)
        return SuggestedProducts(tuple(self.items[:limit]), (f"{text} and more",))

    async def wait(self, kind: str, no: int, seq: int, timeout: float) -> bool:  # noqa: ARG002 - part of the port
        self.waited.append((kind, no, seq))
        return self.shows

    def position(self, noun: str) -> str | None:
        assert noun == "products"
        return self.stands


class FakeReviews(FakeViews):
    """Lists of reviews, with the ratings of those in it."""

    async def ratings(self, product: str) -> Ratings:
        rated = [review.rating for review in self.items if review.product == product]
        return Ratings(len(rated), f"{sum(rated) / len(rated):.1f}" if rated else None, {})


class FakeRedirects(FakeViews):
    """Where old addresses lead, as a test says it."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: dict[tuple[str, str], str] = {}
        self.targets: dict[str, str] = {}

    async def before(self, kind: str, handle: str) -> str | None:
        return self.handles.get((kind, handle))

    async def target(self, path: str) -> str | None:
        return self.targets.get(path)


class World:
    """The shop of a test and what it stands on."""

    def __init__(self) -> None:
        self.actors = FakeActors(RULES)
        self.uploads = FakeUploads()
        self.products = FakeViews()
        self.orders = FakeViews()
        self.redirects = FakeRedirects()
        self.collections = FakeViews()
        self.reviews = FakeReviews()
        self.stores = {"journal": "ok", "views": "ok"}
        self.authenticated: list[tuple[str, str]] = []
        self.waits_for_buyer = True
        self.tailer = Tailer(self.actors.log, lambda: ())
        self.actors.log.on_commit = self.tailer.wake
        self.shop = Shop(
            actors=self.actors,
            vault=FakeVault(),
            uploads=self.uploads,
            products=self.products,
            orders=self.orders,
            redirects=self.redirects,
            collections=self.collections,
            reviews=self.reviews,
            views=self.products,
            log=self.actors.log,
            tailer=self.tailer,
            tell=Teller([Cart(RULES), Order(RULES), Inventory(), Product()]).tell,
            rules=RULES,
            staff_key="staff-key-of-the-tests",
            secret=b"s" * 32,
            authenticate_sandbox=self._authenticate,
            health=self._health,
            log_access=through_structlog,
        )

    async def product(self, sku: str = "TOTE", *, id: str = "", stock: int = 10, **fields: Any) -> str:
        """A published product with this SKU and stock."""
        facts: dict[str, Any] = {
            "handle": f"handle-of-{sku.lower()}",
            "title": {"en": f"Tote {sku}", "de": f"Tasche {sku}"},
            "status": "published",
            "media": (Media(url="/static/demo/tote.svg", alt={"en": "A tote"}),),
            "variants": (Variant(sku=sku, prices=(Money(1290, "USD"), Money(1190, "EUR"))),),
        }
        id = id or f"product-{sku}"
        answer = await self.actors.ask("product", id, CreateProduct(**{**facts, **fields}))
        assert answer.rejection is None
        if stock:
            await self.actors.ask("inventory", sku, AdjustStock(delta=stock, reason="received"))
        shown = await self.actors.read("product", id)
        assert shown is not None
        self.products.items.append(FoundProduct(shown.value, in_stock=bool(stock)))
        return id

    async def _authenticate(self, payment: str, outcome: Literal["ok", "failed"]) -> bool:
        self.authenticated.append((payment, outcome))
        return self.waits_for_buyer

    async def _health(self) -> dict[str, str]:
        return self.stores


async def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document, which has all that every one has."""
    text = await answer.text()
    assert (answer.status, answer.content_type) == (status, "application/problem+json"), text
    document: dict[str, Any] = await answer.json(content_type=None)
    assert (document["code"], document["status"]) == (code, status), text
    assert document["type"] == f"/problems/{code.replace('_', '-')}"
    assert document["title"]
    assert document["detail"]
    assert document["instance"].startswith("urn:request:")
    return document
