"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the embedded database and the keys live.", show_default="var", metavar="DIRECTORY"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
