"""`ultramarket migrate`."""

import asyncio

from ultramarket.bootstrap import prepare_database
from ultramarket.cli.database import database_of, load_settings
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import say, say_json


def migrate(data_dir: DataDir = None, *, json: Json = False) -> None:
    """Bring the database's tables up to date; `up` and `serve` do this too.

    Safe to repeat, and from several machines at once: one does it and the others wait.

    For example:

      ultramarket migrate

      ULTRAMARKET_DATABASE_URL=postgresql://shop:secret@db/shop ultramarket migrate
    """
    settings = load_settings(data_dir)
    with database_of(settings, create=True) as dsn:
        applied = asyncio.run(prepare_database(dsn))
    if json:
        say_json({"applied": applied})
    elif applied:
        say(f"Applied {', '.join(applied)}.")
    else:
        say("The database is up to date.")
