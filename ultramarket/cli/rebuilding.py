"""`ultramarket rebuild`."""

import asyncio
from typing import Annotated

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ultramarket.bootstrap import rebuild_view
from ultramarket.cli.database import database_of, load_settings
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import complain, err, note, say, say_json
from ultramarket.errors import UltraMarketError
from ultramarket.settings import Settings
from ultramarket.views.rebuilding import Rebuilt

INTERRUPTED = 130
"""What a command ends with that Ctrl-C stopped, as shells have it."""


def rebuild(
    view: Annotated[str, typer.Argument(help="Which one: `products` or `orders`; `ultramarket status` lists them.")],
    data_dir: DataDir = None,
    *,
    json: Json = False,
) -> None:
    """Build a view anew from the log, while the platform serves with the one that is there.

    The new one is built beside it, catches up, and takes its place in a moment. Events that could not be taken are
    tried again. Ctrl-C, or anything that goes wrong, changes nothing.

    For example:

      ultramarket rebuild products
    """
    settings = load_settings(data_dir)
    try:
        with database_of(settings) as dsn:
            done = asyncio.run(_rebuild(settings, dsn, view))
    except KeyboardInterrupt:
        note("Stopped; nothing was changed.")
        raise typer.Exit(INTERRUPTED) from None
    except asyncpg.UndefinedTableError as error:
        raise UltraMarketError("The database is not up to date: run `ultramarket migrate`.") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise UltraMarketError(
            f"The database's role may not make a schema to build the view in ({error}): "
            "`grant create on database … to …`."
        ) from error
    if json:
        say_json(done)
        return
    say(f"{done.view} was built anew from {done.events:,} events.")
    if done.parked:
        complain(f"{done.parked:,} of them could not be taken; the table view_parked has the reasons.")


async def _rebuild(settings: Settings, dsn: str, view: str) -> Rebuilt:
    bar = Progress(
        TextColumn(view), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn(), console=err()
    )
    with bar:
        task = bar.add_task(view, total=None)
        return await rebuild_view(
            settings, dsn, view, lambda done, total: bar.update(task, completed=done, total=total)
        )
