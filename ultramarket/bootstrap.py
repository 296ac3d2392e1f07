"""Puts the platform together: which adapters stand behind the ports, and the order in which it all starts and stops."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog
from aiohttp import web

from actors import (
    Cart,
    CategoryTree,
    Collection,
    GatewayWorker,
    Import,
    Importer,
    Inventory,
    Order,
    Payment,
    Product,
    Redirect,
    Review,
)
from ultramarket.adapters.access_log import access_log
from ultramarket.adapters.broker_mailbox import BrokerMailbox
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.adapters.memory_cache import MemoryCache
from ultramarket.adapters.migrations import check_server, migrate, refuse_transaction_pooler
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_feed import PostgresFeed
from ultramarket.adapters.postgres_journal import PostgresJournal
from ultramarket.adapters.postgres_lock import OwnerLock
from ultramarket.adapters.postgres_membership import PostgresMembership
from ultramarket.adapters.postgres_search import PostgresSearch
from ultramarket.adapters.postgres_upkeep import keep_up, upkeep
from ultramarket.adapters.sandbox import SandboxGateway
from ultramarket.adapters.secrets import master_key, staff_key
from ultramarket.adapters.uploads import PostgresUploads
from ultramarket.adapters.vault import PostgresVault
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import ConfigurationError, UltraMarketError, Unavailable
from ultramarket.ports.asking import Actors
from ultramarket.ports.cache import Cache
from ultramarket.ports.database import Database
from ultramarket.ports.gateway import Gateway
from ultramarket.ports.uploads import Uploads
from ultramarket.ports.vault import Vault
from ultramarket.roles import Role
from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.reader import Reader
from ultramarket.runtime.showing import Showcase
from ultramarket.runtime.stored import StoredForms
from ultramarket.runtime.system import Options, Runtime, new_name
from ultramarket.runtime.telling import Teller
from ultramarket.settings import Settings
from ultramarket.views.collections import CollectionView
from ultramarket.views.orders import OrderView
from ultramarket.views.products import ProductView
from ultramarket.views.projection import View
from ultramarket.views.projector import Projector
from ultramarket.views.reading import ReadMany
from ultramarket.views.rebuilding import Advance, Rebuild, Rebuilt
from ultramarket.views.redirects import RedirectView
from ultramarket.views.reviews import ReviewView
from ultramarket.views.tailer import Tailer
from web.admission import Admission
from web.app import create_app
from web.caching import Caching
from web.gauges import Gauges
from web.services import LiveLimits, Shop

if TYPE_CHECKING:
    from ultramarket.adapters.rabbitmq import RabbitMq

LASTING_CONNECTIONS = 2
"""Connections beside the committers' and the pools': of the member or the only owner, and of a look at the schema."""
REBUILD_CONNECTIONS = 4
REBUILD_SECONDS = 3600.0
"""What a statement of a rebuild may take: an index over a large view is one."""
_NOBODY: Any = None
"""Codecs and public events follow from the messages alone: no worker of such a cast asks anybody."""
SANDBOX_CONNECTIONS = 4
"""Connections of the sandbox gateway: it plays the world outside, and must not make the shop's own statements wait."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform.

    Attributes:
        app: the web front end, not yet listening.
        failed: ends with an exception when the process should end and be started anew.
        staff_key: what staff calls carry as bearer token; `staff_key_is_new`: made at this start.
        watchers: what runs beside it and ends with it.
    """

    app: web.Application
    runtime: Runtime
    projector: Projector
    failed: "asyncio.Future[None]"
    staff_key: str
    staff_key_is_new: bool
    watchers: "list[asyncio.Task[None]]"

    def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the platform; an error of it ends the platform."""
        self.watchers.append(asyncio.create_task(_watch(self.failed, work)))


@dataclass(frozen=True, slots=True)
class ReadSide:
    """Every view of the shop."""

    products: ProductView
    orders: OrderView
    redirects: RedirectView
    collections: CollectionView
    reviews: ReviewView

    @classmethod
    def over(cls, database: Database, shown: ReadMany, vault: Vault, language: str) -> "ReadSide":
        """The views of a database, not yet followed; `shown` reads committed public forms."""
        return cls(
            products=ProductView(PostgresSearch(database, language=language), shown),
            orders=OrderView(database, shown, vault),
            redirects=RedirectView(database),
            collections=CollectionView(database, shown, language=language),
            reviews=ReviewView(database, shown),
        )

    def views(self) -> tuple[View, ...]:
        """All of them."""
        return (self.products, self.orders, self.redirects, self.collections, self.reviews)


def cast(
    actors: Actors,
    rules: ShopRules,
    gateways: dict[str, Gateway],
    uploads: Uploads,
    language: str,
    gateway_seconds: float = 30.0,
) -> Sequence[Actor[Any, Any, Any] | Worker[Any]]:
    """Every kind of actor and worker of the shop."""
    return [
        Product(),
        CategoryTree(),
        Collection(),
        Redirect(),
        Review(),
        Inventory(),
        Cart(rules),
        Order(rules),
        Payment(),
        GatewayWorker(gateways, gateway_seconds),
        Import(),
        Importer(actors, uploads, language),
    ]


async def prepare_database(dsn: str) -> list[str]:
    """Check the server and bring the schema up to date; gives the names of the migrations applied.

    Raises:
        UltraMarketError: the server can't be used, can't be reached, or has a schema of a newer version.
    """
    try:
        await refuse_transaction_pooler(dsn)
        connection = await asyncpg.connect(dsn, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UltraMarketError(f"The database can't be reached: {error}. Is ULTRAMARKET_DATABASE_URL right?") from error
    try:
        await check_server(connection)
        return await migrate(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def platform(settings: Settings, dsn: str, role: Role = Role.ALL) -> AsyncIterator[Platform]:
    """A platform that runs on this database until the block ends.

    With a broker it shares the shop with the others that use the same database and broker; without one it has it alone.

    Raises:
        UltraMarketError: it can't start; the text says why and what to do.
    """
    applied = await prepare_database(dsn)
    if applied:
        log.info("migrated", applied=applied)
    key, key_is_new = staff_key(settings.data_dir, settings.staff_key)
    secret = master_key(settings.data_dir, settings.master_key)
    async with AsyncExitStack() as stack:
        beside: list[Coroutine[Any, Any, None]] = []
        if not settings.broker_url:
            lock = OwnerLock(dsn)
            await lock.acquire()
            stack.push_async_callback(lock.release)
            beside.append(lock.keep())
        database = await PostgresDatabase.connect(dsn, max_size=settings.database_connections)
        stack.push_async_callback(database.close)
        # What the shop has heard is on the disk once the shop's own commit is; what it has not heard, it asks again.
        outside = await PostgresDatabase.connect(
            dsn, max_size=SANDBOX_CONNECTIONS, application_name="sandbox gateway", waits_for_disk=False
        )
        stack.push_async_callback(outside.close)
        await upkeep(database)
        assembly = _Assembly(settings, dsn, database, SandboxGateway(outside), secret, role)
        await assembly.vault.prove()
        if isinstance(assembly.mailbox, BrokerMailbox):
            await _rabbit(settings).prepare(assembly.mailbox.queues)
            await assembly.mailbox.start()
            stack.push_async_callback(assembly.mailbox.stop)
        await assembly.runtime.start()
        stack.push_async_callback(assembly.runtime.stop)
        await assembly.projector.start()
        stack.push_async_callback(assembly.projector.stop)
        await assembly.tailer.start()
        stack.push_async_callback(assembly.tailer.stop)
        failed = asyncio.get_running_loop().create_future()
        watchers = [
            asyncio.create_task(_watch(failed, work))
            for work in (*beside, keep_up(database), assembly.runtime.failure())
        ]
        stack.push_async_callback(_cancel, watchers)
        stack.push_async_callback(assembly.cache.close)
        app = create_app(assembly.shop(key))
        yield Platform(app, assembly.runtime, assembly.projector, failed, key, key_is_new, watchers)


class _Assembly:
    """The parts of a platform, put together and not yet started."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        database: PostgresDatabase,
        sandbox: SandboxGateway,
        secret: bytes,
        role: Role,
    ) -> None:
        self._settings = settings
        self._database = database
        self._secret = secret
        self.rules = settings.shop
        self.sandbox = sandbox
        self.vault = PostgresVault(database, secret)
        self.uploads = PostgresUploads(database)
        language = _language(self.rules)

        def parts(actors: Actors) -> Sequence[Actor[Any, Any, Any] | Worker[Any]]:
            return cast(actors, self.rules, {"sandbox": self.sandbox}, self.uploads, language, settings.gateway_seconds)

        name = new_name()
        shares = bool(settings.broker_url)
        self.mailbox = _broker_mailbox(settings, name, parts) if shares else InProcessMailbox()
        self.runtime = Runtime(
            parts,
            lambda: PostgresJournal(dsn),
            self.mailbox,
            self.vault,
            Options(
                committers=settings.committers,
                mailbox_limit=settings.mailbox_limit,
                memory_bytes=settings.memory_bytes,
                command_seconds=settings.command_seconds,
                grace_seconds=settings.grace_seconds,
            ),
            on_commit=self._committed,
            name=name,
            membership=PostgresMembership(dsn, role.value) if shares else None,
            takes=role.has_actors,
        )
        self.read_side = ReadSide.over(database, self.runtime.read_many, self.vault, language)
        self.cache = _cache(settings.redis_url)
        self.projector = Projector(database, self.read_side.views())
        self.feed = PostgresFeed(database)
        self.tailer = Tailer(self.feed, self.runtime.owned)
        self.teller = Teller(parts(_NOBODY))

    def shop(self, key: str) -> Shop:
        """What the web layer gets."""
        gauges = Gauges(self.runtime, self.projector)
        caching = self._settings.caching
        return Shop(
            actors=self.runtime,
            vault=self.vault,
            uploads=self.uploads,
            rules=self.rules,
            staff_key=key,
            secret=hmac.digest(self._secret, b"web", "sha256"),
            authenticate_sandbox=self.sandbox.authenticate,
            health=self._health,
            views=self.projector,
            log=self.feed,
            tailer=self.tailer,
            tell=self.teller.tell,
            products=self.read_side.products,
            orders=self.read_side.orders,
            redirects=self.read_side.redirects,
            collections=self.read_side.collections,
            reviews=self.read_side.reviews,
            metrics=gauges.registry,
            refresh_metrics=gauges.refresh,
            log_access=access_log(self._settings.log_format, self._settings.log_level),
            admission=Admission(self._settings.request_limit, self._settings.connection_limit),
            request_seconds=self._settings.request_seconds,
            allowed_origins=frozenset(self._settings.allowed_origins),
            live_limits=LiveLimits(**self._settings.live.model_dump()),
            caching=Caching(
                max_age=caching.max_age,
                stale_while_revalidate=caching.stale_while_revalidate,
                origins=bool(self._settings.allowed_origins),
            ),
            cache=self.cache if caching.list_seconds else None,
            list_seconds=caching.list_seconds,
        )

    def _committed(self) -> None:
        self.projector.wake()
        self.tailer.wake()

    async def _health(self) -> dict[str, str]:
        """Each store and how it is."""
        try:
            await self._database.fetchrow("select 1")
            database = "ok"
        except Unavailable as error:
            database = str(error)
        stores = {
            "database": database,
            "actors": "ok" if self.runtime.ready() else "taking its partitions",
            "cache": self.cache.state,
        }
        if isinstance(self.mailbox, BrokerMailbox):
            since = self.mailbox.lost_since()
            stores["broker"] = "ok" if since is None else "can't be reached"
        return stores


def connections_at_most(settings: Settings) -> int:
    """Connections that one process of the platform opens to PostgreSQL at most."""
    return settings.database_connections + SANDBOX_CONNECTIONS + settings.committers + LASTING_CONNECTIONS


async def rebuild_view(settings: Settings, dsn: str, noun: str, advance: Advance) -> Rebuilt:
    """Build a view anew while the platform, which may be this program elsewhere, serves with the one that is there.

    Args:
        settings: of the shop.
        dsn: its database, with an up to date schema.
        noun: what the view holds, e.g. `products`.
        advance: told of the progress.

    Raises:
        UltraMarketError: there is no such view, or it can't be rebuilt now; nothing was changed then.
    """
    async with AsyncExitStack() as stack:
        database = await PostgresDatabase.connect(
            dsn, max_size=REBUILD_CONNECTIONS, command_seconds=REBUILD_SECONDS, application_name="ultramarket rebuild"
        )
        stack.push_async_callback(database.close)
        vault = PostgresVault(database, master_key(settings.data_dir, settings.master_key))
        await vault.prove()
        reader = Reader(PostgresJournal(dsn))
        stack.push_async_callback(reader.close)
        nobody: Any = None  # workers are made, and never asked to work
        gateways: dict[str, Gateway] = {}
        language = _language(settings.shop)
        parts = cast(nobody, settings.shop, gateways, nobody, language)
        actors = {part.kind: part for part in parts if isinstance(part, Actor)}
        codecs = {kind: KindCodec(actor) for kind, actor in actors.items()}
        forms = StoredForms(reader, actors, codecs, Showcase(vault))
        views = ReadSide.over(database, forms.read_many, vault, language).views()
        nouns = {view.name.partition(".")[0]: view for view in views}
        if noun not in nouns:
            raise ConfigurationError(f"There is no view {noun!r}: there are {', '.join(sorted(nouns))}.")
        return await Rebuild(database, nouns[noun]).run(advance)


def _language(rules: ShopRules) -> str:
    """The language that texts fall back to."""
    return (rules.channel("default") or rules.channels[0]).language


def _broker_mailbox(
    settings: Settings, name: str, parts: Callable[[Actors], Sequence[Actor[Any, Any, Any] | Worker[Any]]]
) -> BrokerMailbox:
    codecs = {part.kind: KindCodec(part) for part in parts(_NOBODY)}
    return BrokerMailbox(_rabbit(settings), name, codecs, ask_seconds=settings.request_seconds)


def _cache(redis_url: str) -> Cache:
    if not redis_url:
        return MemoryCache()
    from ultramarket.adapters.redis_cache import RedisCache  # noqa: PLC0415 - most shops have no Redis, and it takes long

    return RedisCache.at(redis_url)


def _rabbit(settings: Settings) -> "RabbitMq":
    from ultramarket.adapters.rabbitmq import RabbitMq  # noqa: PLC0415 - most shops have no broker, and it takes long

    return RabbitMq(settings.broker_url)


async def _watch(failed: "asyncio.Future[None]", work: Any) -> None:
    """Run for as long as the platform does; an error of it ends the platform."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever it is, the process can't go on without it
        if not failed.done():
            failed.set_exception(error)


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
