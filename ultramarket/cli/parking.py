"""`ultramarket parked`: messages between actors that could not be taken."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import msgspec
import typer

from ultramarket.cli.database import load_settings, with_database
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import say, say_json, say_table
from ultramarket.errors import ConfigurationError, UltraMarketError

app = typer.Typer(
    no_args_is_help=True,
    help="Look at messages that an actor failed on, and try them again or drop them. Works while the platform runs.",
)

Message = Annotated[str, typer.Argument(help="The message's id, as `parked list` shows it.")]

_COLUMNS = "message, n, kind, no, id, source, reason, at"
_LIST = f"select {_COLUMNS} from parked order by n"  # noqa: S608 - a constant
_SHOW = f"select {_COLUMNS}, body from parked where message = $1"  # noqa: S608 - a constant
# The message keeps its number, and with it its place before the later ones of its source. The platform's next sweep,
# two seconds away at most, sees that the way is free.
_RETRY = """
with moved as (
  delete from parked where $1::text[] is null or message = any($1::text[])
  returning message, n, kind, no, id, body, source
)
insert into outbox (message, n, kind, no, id, body, source) overriding system value
select message, n, kind, no, id, body, source from moved order by n
returning message
"""
_DROP = "delete from parked where message = $1 returning message"


class Parked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parked message.

    Attributes:
        message: its id: the sender's kind, id and version, and a number.
        n: its place in the outbox.
        kind: whose message it is, together with `id`; `no` is the partition.
        source: who sent it, as `kind:id`; later messages from there to the same target wait behind it.
        reason: the error of the last try.
        at: when it was parked.
        body: what it says.
    """

    message: str
    n: int
    kind: str
    no: int
    id: str
    source: str
    reason: str
    at: datetime
    body: msgspec.Raw | None = None


@app.command("list")
def list_(data_dir: DataDir = None, *, json: Json = False) -> None:
    """List the parked messages, the oldest first.

    For example:

      ultramarket parked list
    """

    async def read(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Parked]:
        return [Parked(**dict(row)) for row in await connection.fetch(_LIST)]

    found = with_database(load_settings(data_dir), read)
    if json:
        say_json(found)
    elif not found:
        say("No message is parked.")
    else:
        say_table(
            ("Message", "To", "Since (UTC)", "Reason"),
            [(row.message, f"{row.kind}:{row.id}", f"{row.at:%F %T}", row.reason) for row in found],
        )


@app.command()
def show(message: Message, data_dir: DataDir = None) -> None:
    """Show a parked message with its body and reason, as JSON. Personal data in it stays sealed.

    For example:

      ultramarket parked show order/7c9e…/3/0
    """

    async def read(connection: "asyncpg.Connection[asyncpg.Record]") -> asyncpg.Record | None:
        return await connection.fetchrow(_SHOW, message)

    row = with_database(load_settings(data_dir), read)
    if row is None:
        raise _unknown(message)
    say_json(Parked(**{**dict(row), "body": msgspec.Raw(row["body"].encode())}))


@app.command()
def retry(
    messages: Annotated[list[str] | None, typer.Argument(help="Ids of messages.", show_default=False)] = None,
    data_dir: DataDir = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Try all of them again.")] = False,
    json: Json = False,
) -> None:
    """Put messages back, to be tried again, in their old order; do so once the reason is mended.

    For example:

      ultramarket parked retry order/7c9e…/3/0

      ultramarket parked retry --all
    """
    if every == bool(messages):
        raise ConfigurationError("Name the messages to try again, or give --all.")

    async def move(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
        async with connection.transaction():
            rows = await connection.fetch(_RETRY, None if every else messages)
            moved = [row["message"] for row in rows]
            for wanted in messages or ():
                if wanted not in moved:
                    raise _unknown(wanted)
            return moved

    _told("retried", with_database(load_settings(data_dir), move), json=json)


@app.command()
def drop(
    message: Message,
    data_dir: DataDir = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    json: Json = False,
) -> None:
    """Give a message up for good: what it asks for is never done. Later ones of its source go on.

    For example:

      ultramarket parked drop order/7c9e…/3/0 --yes
    """
    if not yes:
        typer.confirm(f"Drop {message} for good?", abort=True, err=True)

    async def delete(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
        rows = await connection.fetch(_DROP, message)
        if not rows:
            raise _unknown(message)
        return [message]

    _told("dropped", with_database(load_settings(data_dir), delete), json=json)


def _unknown(message: str) -> UltraMarketError:
    return UltraMarketError(f"No message {message} is parked; `ultramarket parked list` shows those that are.")


def _told(what: str, messages: Sequence[str], *, json: bool) -> None:
    if json:
        result: dict[str, Any] = {what: messages}
        say_json(result)
    else:
        say(f"{len(messages)} {what}.")
