"""`ultramarket export`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ultramarket.cli.client import Client
from ultramarket.cli.database import load_settings
from ultramarket.cli.options import DataDir
from ultramarket.cli.printing import err, note
from ultramarket.cli.reaching import StaffKey, Url, client_of
from ultramarket.errors import UltraMarketError

app = typer.Typer(no_args_is_help=True, help="Take data out of the running platform.")


@app.callback()
def _export() -> None:
    """Keeps `products` a command of its own."""


@app.command()
def products(
    file: Annotated[str, typer.Argument(help="Where to write; `-` is standard output.")],
    data_dir: DataDir = None,
    *,
    currency: Annotated[
        str | None, typer.Option(help="The currency of the prices, e.g. EUR.", show_default="the shop's")
    ] = None,
    url: Url = None,
    staff_key: StaffKey = None,
) -> None:
    """Write all products to a CSV file that `ultramarket import products`, or Shopify, reads.

    A file that is there is replaced once the new one is whole.

    For example:

      ultramarket export products catalogue.csv --currency EUR
    """
    client = client_of(load_settings(data_dir), url, staff_key)
    if file == "-":
        asyncio.run(_write(client, currency, sys.stdout.buffer))
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            size = asyncio.run(_write(client, currency, out))
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise UltraMarketError(f"{path} can't be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    note(f"{path}: {size:,} bytes")


async def _write(client: Client, currency: str | None, out: IO[bytes]) -> int:
    """Write what the platform sends; gives its size."""
    bar = Progress(
        SpinnerColumn(), TextColumn("Products"), DownloadColumn(), TimeElapsedColumn(), console=err(), transient=True
    )
    size = 0
    with bar:
        task = bar.add_task("Products", total=None)
        async with client:
            async for chunk in client.exported_products(currency):
                out.write(chunk)
                size += len(chunk)
                bar.update(task, completed=size)
    return size
