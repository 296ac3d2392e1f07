"""`ultramarket import`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from ultramarket.cli.client import Client
from ultramarket.cli.database import load_settings
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import FAILED, note, say, say_json, say_table
from ultramarket.cli.reaching import StaffKey, Url, client_of
from ultramarket.cli.upload import bring_in_watched

app = typer.Typer(no_args_is_help=True, help="Bring data into the running platform.")


@app.callback()
def _import() -> None:
    """Keeps `products` a command of its own."""


@app.command()
def products(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A product CSV as Shopify exports it.")],
    data_dir: DataDir = None,
    *,
    currency: Annotated[
        str | None, typer.Option(help="The currency of the file's prices, e.g. EUR.", show_default="the shop's")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a row was refused.")] = False,
    url: Url = None,
    staff_key: StaffKey = None,
    json: Json = False,
) -> None:
    """Import products, variants and stock from a CSV file. The same file again changes nothing.

    A row that can't be read is refused with its line and reason, and the rest goes in.

    For example:

      ultramarket import products catalogue.csv --currency EUR

      ultramarket import products catalogue.csv --dry-run --strict
    """
    client = client_of(load_settings(data_dir), url, staff_key)
    done = asyncio.run(_bring_in(client, file, currency, dry_run=dry_run))
    if json:
        say_json(done)
    else:
        _tell(done)
    if done["status"] == "failed" or (strict and done["refused_total"]):
        raise typer.Exit(FAILED)


async def _bring_in(client: Client, file: Path, currency: str | None, *, dry_run: bool) -> dict[str, Any]:
    async with client:
        return await bring_in_watched(client, file, currency, dry_run=dry_run)


def _tell(done: dict[str, Any]) -> None:
    """The result for people: counts, then what did not go in and why."""
    if done["dry_run"]:
        say("Nothing was changed: this is what would happen.")
    names = ("rows", "products", "variants", "unchanged", "refused_total")
    say_table(
        ("Rows read", "Products written", "Variants written", "Products unchanged", "Rows refused"),
        [[done[name] for name in names]],
    )
    for text in done["notes"]:
        note(f"Note: {text}")
    for row in done["refused"]:
        say(f"line {row['line']}: {row['reason']}")
    unshown = done["refused_total"] - len(done["refused"])
    if unshown > 0:
        say(f"and {unshown:,} more rows that were refused")
    if done["status"] == "failed":
        say(f"The import failed: {done['failure'] or 'the log of the platform has the reason'}")
