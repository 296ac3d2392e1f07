"""What is said when the platform is ready."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from ultramarket import __version__


def announce(url: str, data_dir: Path, new_key: str | None, *, json: bool) -> None:
    """Say on standard output that it is ready, and how to begin.

    Args:
        url: where it answers.
        data_dir: where the keys are kept.
        new_key: the staff key, if it was made just now: it is shown this once.
        json: for programs.
    """
    kept = data_dir.absolute() / "staff.key"
    if json:
        new = {} if new_key is None else {"staff_key": new_key}
        said = {"url": url, "docs": f"{url}/docs", "staff_key_file": str(kept), **new}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(said)).decode() + "\n")
    else:
        _to_people(Console(file=sys.stdout, highlight=False, soft_wrap=True), url, kept, new_key)
    sys.stdout.flush()


def announce_workers(name: str, *, json: bool) -> None:
    """Say that processes without a front end are ready."""
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({"ready": name})).decode() + "\n")
    else:
        sys.stdout.write(f"UltraMarket {__version__}: {name} ready.\n")
    sys.stdout.flush()


def _to_people(console: Console, url: str, kept: Path, new_key: str | None) -> None:
    console.print(f"\n[bold green]UltraMarket {__version__} is ready.[/]\n")
    console.print(f"  Shop       [bold]{url}[/]")
    console.print(f"  API        [bold]{url}/docs[/]")
    if new_key is not None:
        console.print(f"  Staff key  [bold]{new_key}[/]")
        console.print(f"             shown this once; kept in {kept}")
    elif kept.exists():
        console.print(f"  Staff key  in {kept}")
    else:
        console.print("  Staff key  as set by ULTRAMARKET_STAFF_KEY")
    console.print(f"\n  Try it:    curl '{url}/api/v1/products?limit=3'\n")
