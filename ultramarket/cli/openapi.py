"""`ultramarket openapi`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

import ultramarket
from ultramarket.cli.printing import say
from ultramarket.errors import ConfigurationError, UltraMarketError
from web.openapi import document

PATH = Path(ultramarket.__file__).parents[1] / "docs" / "openapi.json"
"""Where the document stands in a checkout."""


def openapi(
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if docs/openapi.json is not up to date.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Bring docs/openapi.json up to date.")] = False,
) -> None:
    """Print the OpenAPI 3.1 document of the API, or keep docs/openapi.json in step with the code.

    For example:

      ultramarket openapi > shop.json

      ultramarket openapi --check
    """
    if check and write:
        raise ConfigurationError("--check and --write exclude each other.")
    text = msgspec.json.format(msgspec.json.encode(document(), order="sorted"), indent=2).decode() + "\n"
    if not check and not write:
        typer.echo(text, nl=False)
        return
    if not PATH.parent.is_dir():
        raise UltraMarketError(f"{PATH.parent} does not exist: this works in a checkout of the project only.")
    if write:
        PATH.write_text(text, "utf-8")
        say(f"Wrote {PATH}.")
    elif not PATH.exists() or PATH.read_text("utf-8") != text:
        raise UltraMarketError(
            f"{PATH} does not say what the code does: run `ultramarket openapi --write` and look at what changed."
        )
    else:
        say(f"{PATH} is up to date.")
