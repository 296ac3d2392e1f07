"""`ultramarket up` and `ultramarket serve`."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ultramarket import __version__
from ultramarket.adapters import logs
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.bootstrap import Platform
from ultramarket.cli import demo as demo_shop
from ultramarket.cli import reloading, server
from ultramarket.cli.listening import open_sockets
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import out, say_json
from ultramarket.settings import Settings

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
    _run(Settings.load(http_host=host, http_port=port, data_dir=data_dir), demo=False, json=json)


def _run(settings: Settings, *, demo: bool, json: bool) -> None:
    logs.configure(settings.log_format, settings.log_level)

    embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
    with _stopped_by_signals(), embedded or nullcontext(settings.database_url) as dsn, ExitStack() as opened:
        sockets = open_sockets(settings.http_host, settings.http_port)
        for one in sockets:
            opened.enter_context(one)

        async def announce(running: Platform, url: str) -> None:
            if demo:
                await demo_shop.fill(running, url, dsn)
            if embedded is not None:
                running.watch(embedded.ended())
            _tell(settings.data_dir, running, url, json=json)

        server.run(settings, dsn, sockets, announce)


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


def _tell(data_dir: Path, running: Platform, url: str, *, json: bool) -> None:
    """Say that it is ready, and how to begin."""
    kept = data_dir.absolute() / "staff.key"
    if json:
        new = {"staff_key": running.staff_key} if running.staff_key_is_new else {}
        say_json({"url": url, "docs": f"{url}/docs", "staff_key_file": str(kept), **new})
        return
    console = out()
    console.print(f"\n[bold green]UltraMarket {__version__} is ready.[/]\n")
    console.print(f"  Shop       [bold]{url}[/]")
    console.print(f"  API        [bold]{url}/docs[/]")
    if running.staff_key_is_new:
        console.print(f"  Staff key  [bold]{running.staff_key}[/]")
        console.print(f"             shown this once; kept in {kept}")
    elif kept.exists():
        console.print(f"  Staff key  in {kept}")
    else:
        console.print("  Staff key  as set by ULTRAMARKET_STAFF_KEY")
    console.print(f"\n  Try it:    curl '{url}/api/v1/products?limit=3'\n")
    sys.stdout.flush()
