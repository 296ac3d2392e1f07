"""Reaching a running platform from a command: where it is, and with which key."""

from typing import Annotated

import typer

from ultramarket.cli.client import Client
from ultramarket.errors import ConfigurationError, UltraMarketError
from ultramarket.settings import Settings

Url = Annotated[str | None, typer.Option(help="Where the platform runs.", show_default="http://127.0.0.1:8080")]
StaffKey = Annotated[
    str | None,
    typer.Option(help="The staff key; better in ULTRAMARKET_STAFF_KEY.", show_default="the one in --data-dir"),
]


def client_of(settings: Settings, url: str | None, staff_key: str | None) -> Client:
    """A client of the platform at the URL, or of the one that these settings are for.

    Raises:
        UltraMarketError: there is no staff key, or it can't be read.
    """
    where = url or f"http://{_reachable(settings.http_host)}:{settings.http_port}"
    return Client(where, staff_key or settings.staff_key or _kept_key(settings))


def _reachable(host: str) -> str:
    found = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what it means, not a place to bind to
    return f"[{found}]" if ":" in found else found


def _kept_key(settings: Settings) -> str:
    path = settings.data_dir / "staff.key"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no staff key in {path.absolute()}: start the platform with `ultramarket up`, "
            "say where it keeps its data with --data-dir, or give the key in ULTRAMARKET_STAFF_KEY."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UltraMarketError(f"The staff key in {path.absolute()} can't be read: {error}.") from None
