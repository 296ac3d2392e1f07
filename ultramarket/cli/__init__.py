"""The command line: one module a command, put together here."""

import sys
from typing import Annotated

import typer

from ultramarket import __version__
from ultramarket.cli import (
    doctor,
    exporting,
    importing,
    migrating,
    openapi,
    parking,
    rebuilding,
    serving,
    starting,
    status,
)
from ultramarket.cli.printing import Sentences, complain

app = typer.Typer(
    name="ultramarket",
    cls=Sentences,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every setting stands in config/default.toml and may be given as ULTRAMARKET_…; exit codes: 0 it went well, "
    "1 it did not, 2 a usage or a setting is wrong.",
)
app.command()(serving.up)
app.command()(serving.serve)
app.command()(starting.start)
app.command()(serving.worker)
app.command()(serving.web)
app.command()(migrating.migrate)
app.command()(status.status)
app.command()(doctor.doctor)
app.add_typer(importing.app, name="import")
app.add_typer(exporting.app, name="export")
app.add_typer(parking.app, name="parked")
app.command()(rebuilding.rebuild)
app.command()(openapi.openapi)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """An e-commerce platform in one process: no oversold stock, no double charges, nothing lost at a crash.

    Start it with [bold]ultramarket up --demo[/bold] and open http://127.0.0.1:8080/docs.
    """
    context.obj = debug


def main() -> None:
    """The console script; a fault of our own ends with 1 and one sentence, or a traceback with --debug."""
    try:
        app()
    except Exception as error:  # the last line before the user
        if "--debug" in sys.argv:
            raise
        complain(
            f"{type(error).__name__}: {error}. This is a fault of the program; --debug before the command says where."
        )
        sys.exit(1)
