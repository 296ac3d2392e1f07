"""`ultramarket start`: the parent of the processes of one machine."""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ultramarket.adapters.secrets import master_key, staff_key
from ultramarket.cli.listening import open_sockets, refusal, url_of
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.server import BACKLOG
from ultramarket.cli.serving import Host, Port, refuse_to_share
from ultramarket.errors import ConfigurationError
from ultramarket.settings import Settings
from ultramarket.supervisor.orders import PARENT, ParentOrders, Post, as_variable, posts

_MOST = 256


def start(
    context: typer.Context,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    *,
    replicas: Annotated[int, typer.Option(min=0, max=_MOST, help="Processes with actors and front end.")] = 1,
    workers: Annotated[int, typer.Option(min=0, max=_MOST, help="Processes with actors alone.")] = 0,
    web: Annotated[int, typer.Option(min=0, max=_MOST, help="Processes with the front end alone.")] = 0,
    json: Json = False,
) -> None:
    """Start processes that share one port, watch them, and start anew what dies or freezes.

    SIGHUP replaces them one by one, SIGTERM and Ctrl-C end all. More than one process takes ULTRAMARKET_BROKER_URL.
    Without ULTRAMARKET_DATABASE_URL the embedded PostgreSQL is started for them.

    For example:

      ultramarket start --replicas 4

      ultramarket start --replicas 0 --workers 3 --web 2 --port 80
    """
    places = posts(replicas=replicas, workers=workers, web=web)
    settings = Settings.load(http_host=host, http_port=port, data_dir=data_dir)
    _check(settings, places)
    # Made here, so that it is known whether the key is new: of several processes only one can tell.
    _, new_key = staff_key(settings.data_dir, settings.staff_key)
    master_key(settings.data_dir, settings.master_key)
    sockets = _listen(settings) if any(post.role.has_http for post in places) else []
    orders = ParentOrders(
        posts=places,
        sockets=tuple(one.fileno() for one in sockets),
        flags=("--debug",) if context.obj else (),
        options=("--data-dir", str(settings.data_dir)),
        data_dir=str(settings.data_dir),
        embedded=not settings.database_url,
        grace_seconds=settings.grace_seconds,
        log_format=settings.log_format,
        log_level=settings.log_level,
        url=url_of(sockets) if sockets else "",
        new_key=new_key,
        json=json,
    )
    _become_parent(orders, sockets)


def _check(settings: Settings, places: Sequence[Post]) -> None:
    if not places:
        raise ConfigurationError("There is nothing to start: give --replicas, --workers or --web.")
    if len(places) > 1 or not (places[0].role.has_http and places[0].role.has_actors):
        refuse_to_share(settings, "A process that is not the only one", embedded=True)


def _listen(settings: Settings) -> list[socket.socket]:
    """The sockets, which accept connections from now on: those wait for the first process that is ready."""
    sockets = open_sockets(settings.http_host, settings.http_port)
    for one in sockets:
        try:
            one.listen(BACKLOG)
        except OSError as error:  # somebody else was quicker between bind and listen
            raise refusal(error, *one.getsockname()[:2]) from None
    return sockets


def _become_parent(orders: ParentOrders, sockets: Sequence[socket.socket]) -> None:
    """Replace this program, which has loaded all of the platform, by the parent, which needs little of it."""
    for one in sockets:
        one.set_inheritable(True)
    # What comes before the parent listens to signals waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    os.execve(  # noqa: S606 - this program with a list of our own, no shell
        sys.executable,
        [sys.executable, "-m", "ultramarket.supervisor"],
        {**os.environ, PARENT: as_variable(orders)},
    )
