"""What the web layer is given by bootstrap."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiohttp import web
from aioprometheus.collectors import Registry

from ultramarket.domain.shop import Channel, ShopRules
from ultramarket.messages.collection import ShownCollection
from ultramarket.messages.order import ShownOrder
from ultramarket.messages.review import ShownReview
from ultramarket.ports.access_log import Access, AccessLog
from ultramarket.ports.asking import Actors
from ultramarket.ports.cache import Cache
from ultramarket.ports.feed import Feed
from ultramarket.ports.uploads import Uploads
from ultramarket.ports.vault import Vault
from ultramarket.runtime.telling import Told
from ultramarket.views.collections import CollectionFilters
from ultramarket.views.orders import OrderFilters
from ultramarket.views.pages import Page
from ultramarket.views.products import FoundProduct, FoundProducts, ProductFilters, SuggestedProducts
from ultramarket.views.redirects import FoundRedirect, RedirectFilters
from ultramarket.views.reviews import Ratings, ReviewFilters
from ultramarket.views.tailer import Tailer
from web.admission import Admission
from web.caching import Caching

AuthenticateSandbox = Callable[[str, Literal["ok", "failed"]], Awaitable[bool]]
Health = Callable[[], Awaitable[dict[str, str]]]
Refresh = Callable[[], None]
Tell = Callable[[str, str], Told]
"""Makes the public event of a kind and the stored text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """What a live connection may take.

    Attributes:
        subscriptions: of one connection.
        frame_bytes: of a frame that a client sends; with a larger one its connection ends with 1009.
        unread_bytes: what may wait for a reader before it is cut.
    """

    subscriptions: int = 100
    frame_bytes: int = 4096
    unread_bytes: int = 262_144


class Products(Protocol):
    """The list of products, see `ultramarket.views.products.ProductView`."""

    async def find(self, filters: ProductFilters, limit: int = 24, cursor: str | None = None) -> Page[FoundProduct]:
        """A page of products.

        Raises:
            ValueError: a limit, cursor or price that can't be.
            Unavailable: the view can't be reached.
        """
        ...

    async def search(
        self,
        filters: ProductFilters,
        limit: int = 24,
        cursor: str | None = None,
        *,
        facets: tuple[str, ...] = (),
        highlight: bool = False,
    ) -> FoundProducts:
        """A page of products with facets, and with highlights where they are wanted; as `find`."""
        ...

    async def suggest(self, text: str, language: str = "en", limit: int = 5) -> SuggestedProducts:
        """What a text that is still being typed may become; as `find`."""
        ...


class Orders(Protocol):
    """The list of orders, see `ultramarket.views.orders.OrderView`."""

    async def find(self, filters: OrderFilters, limit: int = 24, cursor: str | None = None) -> Page[ShownOrder]:
        """A page of orders.

        Raises:
            ValueError: a limit or cursor that can't be.
            Unavailable: the view can't be reached.
        """
        ...


class Reviews(Protocol):
    """The lists of reviews, see `ultramarket.views.reviews.ReviewView`."""

    async def find(self, filters: ReviewFilters, limit: int = 24, cursor: str | None = None) -> Page[ShownReview]:
        """A page of reviews.

        Raises:
            ValueError: a limit or cursor that can't be.
            Unavailable: the view can't be reached.
        """
        ...

    async def ratings(self, product: str) -> Ratings:
        """The ratings of a product's published reviews.

        Raises:
            Unavailable: the view can't be reached.
        """
        ...


class Collections(Protocol):
    """The list of collections, see `ultramarket.views.collections.CollectionView`."""

    async def find(
        self, filters: CollectionFilters, limit: int = 24, cursor: str | None = None
    ) -> Page[ShownCollection]:
        """A page of collections.

        Raises:
            ValueError: a limit or cursor that can't be.
            Unavailable: the view can't be reached.
        """
        ...


class Redirects(Protocol):
    """Where old addresses lead, see `ultramarket.views.redirects.RedirectView`."""

    async def before(self, kind: str, handle: str) -> str | None:
        """Id of the last entity of this kind that had the handle before; None where none had.

        Raises:
            Unavailable: the view can't be reached.
        """
        ...

    async def target(self, path: str) -> str | None:
        """Where the staff lead this path, None where they lead it nowhere.

        Raises:
            Unavailable: the view can't be reached.
        """
        ...

    async def find(self, filters: RedirectFilters, limit: int = 24, cursor: str | None = None) -> Page[FoundRedirect]:
        """A page of the staff's redirects.

        Raises:
            ValueError: a limit or cursor that can't be.
            Unavailable: the view can't be reached.
        """
        ...


class Views(Protocol):
    """How far the views are, see `ultramarket.views.projector.Projector`."""

    async def wait(self, kind: str, no: int, seq: int, timeout: float) -> bool:
        """Wait until every view shows the write with the token `kind.no@seq`; False when it does not in time."""
        ...

    def position(self, noun: str) -> str | None:
        """Where the view of this noun stands in the log, the same text in every process; None: unknown."""
        ...


def _nothing() -> None:
    """No gauges to bring up to date."""


def _unlogged(_access: Access) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The services behind the web layer.

    Attributes:
        secret: key material for ids derived from idempotency keys and for webhook signatures; at least 32 bytes.
        gateways: names of the payment gateways that orders may name.
        authenticate_sandbox: plays the buyer's part at the sandbox gateway; False where the payment waits for nothing.
        health: each store with `ok` or what is wrong with it.
        metrics: what `/metrics` shows; bootstrap registers the gauges of the runtime here too.
        refresh_metrics: brings those gauges up to date; called before each scrape.
        log_access: told of every request that was answered.
        admission: how many requests and connections may come in.
        request_seconds: deadline of a request.
        upload_seconds: deadline of a request that uploads a file.
        log: the events that live connections are told of; `tailer` tells of new ones, `tell` makes them public.
        live_limits: what a live connection may take.
        allowed_origins: of pages on other hosts that may read answers and open live connections.
        caching: how long caches on the way may keep the catalogue.
        cache: keeps lists that guests ask for; None: each is made anew.
        list_seconds: how long at most.
    """

    actors: Actors
    vault: Vault
    uploads: Uploads
    products: Products
    orders: Orders
    redirects: Redirects
    collections: Collections
    reviews: Reviews
    views: Views
    log: Feed
    tailer: Tailer
    tell: Tell
    rules: ShopRules
    staff_key: str
    secret: bytes
    authenticate_sandbox: AuthenticateSandbox
    health: Health
    gateways: frozenset[str] = frozenset({"sandbox"})
    metrics: Registry = field(default_factory=Registry)
    refresh_metrics: Refresh = _nothing
    log_access: AccessLog = _unlogged
    admission: Admission = field(default_factory=Admission)
    request_seconds: float = 15.0
    upload_seconds: float = 900.0
    allowed_origins: frozenset[str] = frozenset()
    live_limits: LiveLimits = field(default_factory=LiveLimits)
    caching: Caching = field(default_factory=Caching)
    cache: Cache | None = None
    list_seconds: float = 30.0

    @property
    def channel(self) -> Channel:
        """The channel of callers that name none."""
        return self.rules.channel("default") or self.rules.channels[0]

    @property
    def webhook_secret(self) -> bytes:
        """The key that signs sandbox webhooks."""
        return hmac.digest(self.secret, b"webhook:sandbox", "sha256")

    def language(self, channel: str | None) -> str:
        """The language that texts of a channel fall back to."""
        return (self.rules.channel(channel or "") or self.channel).language


SHOP = web.AppKey("shop", Shop)
