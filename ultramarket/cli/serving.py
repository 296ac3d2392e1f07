"""`ultramarket up`, `serve`, `worker` and `web`: one process."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import FrameType
from typing import Annotated

import typer

from ultramarket.adapters import logs
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.bootstrap import Platform
from ultramarket.cli import demo as demo_shop
from ultramarket.cli import reloading, server
from ultramarket.cli.child import Tie
from ultramarket.cli.listening import open_sockets
from ultramarket.cli.options import DataDir, Json
from ultramarket.errors import ConfigurationError
from ultramarket.roles import Role
from ultramarket.settings import Settings
from ultramarket.supervisor.announcing import announce, announce_workers

Host = Annotated[
    str | None, typer.Option(help="The address to listen on; 0.0.0.0 for every one.", show_default="127.0.0.1")
]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.", show_default="8080")
]


def up(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    *,
    demo: Annotated[bool, typer.Option(help="Fill an empty shop with the demo catalogue.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a source or configuration file changes.")
    ] = False,
    json: Json = False,
) -> None:
    """Start everything: the embedded PostgreSQL, the actors and the web front end. Ctrl-C ends it.

    With ULTRAMARKET_DATABASE_URL that database is used instead of the embedded one.

    For example:

      ultramarket up --demo

      ultramarket up --port 9000 --data-dir ~/shop

      ultramarket up --demo --reload
    """
    settings = Settings.load(http_host=host, http_port=port, data_dir=data_dir)
    if reload:
        with _stopped_by_signals(), _database(settings) as dsn:
            reloading.run(settings, dsn, demo=demo, json=json)
        return
    _run(settings, demo=demo, json=json)


def serve(host: Host = None, port: Port = None, data_dir: DataDir = None, *, json: Json = False) -> None:
    """Run one replica: actors and web front end, e.g. under a process manager. SIGTERM ends it in order.

    Without ULTRAMARKET_DATABASE_URL the embedded PostgreSQL is started with it.

    For example:

      ULTRAMARKET_DATABASE_URL=postgresql://shop:secret@db/shop ultramarket serve --host 0.0.0.0
    """
    tie = Tie.taken()
    _run(Settings.load(http_host=host, http_port=port, data_dir=data_dir), tie=tie, json=json)


def worker(data_dir: DataDir = None, *, json: Json = False) -> None:
    """Run one process that has actors and no front end. Processes with `web` or `serve` bring it its work.

    They share ULTRAMARKET_DATABASE_URL and ULTRAMARKET_BROKER_URL.

    For example:

      ultramarket worker --json
    """
    tie = Tie.taken()
    settings = Settings.load(data_dir=data_dir)
    refuse_to_share(settings, "ultramarket worker")
    _run(settings, role=Role.WORKER, tie=tie, json=json)


def web(host: Host = None, port: Port = None, data_dir: DataDir = None, *, json: Json = False) -> None:
    """Run one process that is a front end and has no actors: those are in processes of `worker` or `serve`.

    They share ULTRAMARKET_DATABASE_URL and ULTRAMARKET_BROKER_URL.

    For example:

      ultramarket web --host 0.0.0.0 --port 8080
    """
    tie = Tie.taken()
    settings = Settings.load(http_host=host, http_port=port, data_dir=data_dir)
    refuse_to_share(settings, "ultramarket web")
    _run(settings, role=Role.WEB, tie=tie, json=json)


def refuse_to_share(settings: Settings, what: str, *, embedded: bool = False) -> None:
    """Stop what needs several processes where they could not share a shop.

    Args:
        settings: of the platform.
        what: the subject of the sentence.
        embedded: whether the embedded database is shared, because one parent runs it for all.

    Raises:
        ConfigurationError: a broker or a database that all reach is missing.
    """
    if not settings.broker_url:
        raise ConfigurationError(
            f"{what} shares a shop with other processes, which takes a broker between them: set ULTRAMARKET_BROKER_URL "
            "to a RabbitMQ, e.g. amqp://shop:secret@127.0.0.1/. Without one, `ultramarket serve` does it all alone."
        )
    if not settings.database_url and not embedded:
        raise ConfigurationError(
            f"{what} shares a shop with other processes, which takes a database that all of them reach: set "
            "ULTRAMARKET_DATABASE_URL. On one machine `ultramarket start` runs the embedded one for all."
        )


def _run(settings: Settings, *, role: Role = Role.ALL, demo: bool = False, tie: Tie | None = None, json: bool) -> None:
    logs.configure(settings.log_format, settings.log_level)
    if tie is not None:
        tie.bind(settings.grace_seconds + server.SPARE_SECONDS)

    embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
    with _stopped_by_signals(), embedded or nullcontext(settings.database_url) as dsn, ExitStack() as opened:
        sockets = tie.sockets if tie else open_sockets(settings.http_host, settings.http_port) if role.has_http else []
        for one in sockets:
            opened.enter_context(one)

        async def tell(running: Platform, url: str) -> None:
            if demo:
                await demo_shop.fill(running, url, dsn)
            if embedded is not None:
                running.watch(embedded.ended())
            if tie is not None:
                tie.ready()
            elif url:
                announce(url, settings.data_dir, running.staff_key if running.staff_key_is_new else None, json=json)
            else:
                announce_workers(role.value, json=json)

        server.run(settings, dsn, sockets, tell, role=role, tie=tie)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The configured database, or the embedded one for as long as the block runs."""
    with nullcontext(settings.database_url) if settings.database_url else EmbeddedPostgres(settings.data_dir) as dsn:
        yield dsn


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the block in order while no event loop runs yet, or not any more."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
