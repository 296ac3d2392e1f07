"""`python -m ultramarket.supervisor`: what `ultramarket start` becomes, to keep nothing that only it needed."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import structlog

from ultramarket.adapters import logs
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.errors import UltraMarketError
from ultramarket.supervisor.announcing import announce, announce_workers
from ultramarket.supervisor.orders import ParentOrders, take_parent_orders
from ultramarket.supervisor.parent import Parent
from ultramarket.supervisor.process import command_of
from ultramarket.supervisor.supervision import FAILED, End, Limits

log = structlog.get_logger()


def main() -> int:
    """Run a parent until it ends; gives the exit status."""
    orders = take_parent_orders()
    logs.configure(orders.log_format, orders.log_level)
    _listen_to_signals()
    embedded = EmbeddedPostgres(Path(orders.data_dir)) if orders.embedded else None
    try:
        with embedded or nullcontext("") as dsn:
            end = asyncio.run(_run(orders, embedded, dsn))
    except KeyboardInterrupt:  # while the database started
        return 0
    except UltraMarketError as error:
        end = End(FAILED, str(error))
    if end.reason:
        sys.stderr.write(f"Error: {end.reason}\n")
    return end.status


async def _run(orders: ParentOrders, embedded: EmbeddedPostgres | None, dsn: str) -> End:
    environment = dict(os.environ) | ({"ULTRAMARKET_DATABASE_URL": dsn} if dsn else {})
    sockets = [socket.socket(fileno=number) for number in orders.sockets]
    parent = Parent(
        orders.posts, command_of(orders), environment, sockets, Limits(orders.grace_seconds), lambda: _announce(orders)
    )
    if embedded is None:
        return await parent.run()
    watching = asyncio.create_task(_watch(embedded, parent))
    try:
        return await parent.run()
    finally:
        watching.cancel()


async def _watch(embedded: EmbeddedPostgres, parent: Parent) -> None:
    """A database that ends by itself ends everything."""
    try:
        await embedded.ended()
    except UltraMarketError as error:
        parent.fail(str(error))


def _announce(orders: ParentOrders) -> None:
    if not orders.url:
        announce_workers(", ".join(post.name for post in orders.posts), json=orders.json)
        return
    data_dir = Path(orders.data_dir)
    key = (data_dir / "staff.key").read_text("ascii").strip() if orders.new_key else None
    announce(orders.url, data_dir, key, json=orders.json)


def _listen_to_signals() -> None:
    """Until the event loop does it. They were held back since before this program was loaded."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def nothing(_number: int, _frame: FrameType | None) -> None:
        """There is nothing to roll yet."""

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


if __name__ == "__main__":
    sys.exit(main())
