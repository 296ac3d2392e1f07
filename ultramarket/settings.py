"""Settings: flags, then the environment, then config/<environment>.toml, then config/default.toml.

The defaults stand in config/default.toml alone, each with a comment that says what it does.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ultramarket.domain.money import Money
from ultramarket.domain.shop import Channel, Limits, ShippingMethod, ShippingRate, ShopRules, TaxRate, Timing
from ultramarket.errors import ConfigurationError

_PREFIX = "ULTRAMARKET_"
_RESERVED_FOR_TESTS = "ULTRAMARKET_TEST_"
_ENVIRONMENT = "ULTRAMARKET_ENV"
_NOT_THERE_YET = {
    "mongo_url": "MongoDB",
    "search_url": "Elasticsearch",
}


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LiveSettings(_Group):
    """The table `[live]`: what a live connection may take."""

    subscriptions: PositiveInt
    frame_bytes: Annotated[int, Field(ge=1024)]
    unread_bytes: Annotated[int, Field(ge=131072)]


class CachingSettings(_Group):
    """The table `[caching]`: how long others may keep the catalogue."""

    max_age: NonNegativeInt
    stale_while_revalidate: NonNegativeInt
    list_seconds: NonNegativeFloat


class CartSettings(_Group):
    """The table `[cart]`: limits, and how long a quoted price holds."""

    max_lines: PositiveInt
    max_quantity: PositiveInt
    quote_lock_seconds: PositiveInt


class OrderSettings(_Group):
    """The table `[order]`: how long a checkout waits for what."""

    hold_seconds: PositiveInt
    step_seconds: PositiveInt
    action_seconds: PositiveInt
    freeze_seconds: PositiveInt


class ChannelSettings(_Group):
    """A table `[[channels]]`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    currency: str
    country: str
    language: str
    prices_include_tax: bool


class ShippingRateSettings(_Group):
    """An entry of `rates` of a shipping method."""

    currency: str
    price: str
    up_to_grams: PositiveInt | None = None


class ShippingSettings(_Group):
    """A table `[[shipping]]`."""

    code: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    title: dict[str, str]
    kind: Literal["flat", "by_weight"] = "flat"
    rates: tuple[ShippingRateSettings, ...] = ()
    countries: tuple[str, ...] = ()
    unpriced: Literal["refused", "free"] = "refused"


class TaxSettings(_Group):
    """A table `[[tax]]`."""

    country: str
    region: str = ""
    rate: str
    tax_class: str = "standard"
    shipping: bool = True


class Settings(BaseSettings):
    """All settings; what each means stands in config/default.toml."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # compose files hand on a variable that is not set as an empty one
        extra="forbid",
        frozen=True,
        # The text of a validation error goes to the log and the terminal: no value of a secret in it.
        hide_input_in_errors=True,
    )

    data_dir: Path
    http_host: Annotated[str, Field(min_length=1)]
    http_port: Annotated[int, Field(ge=0, le=65535)]
    staff_key: Annotated[str, Field(repr=False)]
    master_key: Annotated[str, Field(repr=False)]
    database_url: Annotated[str, Field(repr=False)]
    database_connections: Annotated[int, Field(ge=2, le=1000)]
    broker_url: Annotated[str, Field(repr=False)]
    redis_url: Annotated[str, Field(repr=False)]
    mongo_url: Annotated[str, Field(repr=False)]
    search_url: Annotated[str, Field(repr=False)]
    log_format: Literal["auto", "text", "json"]
    log_level: Literal["debug", "info", "warning", "error"]
    committers: Annotated[int, Field(ge=1, le=16)]
    mailbox_limit: PositiveInt
    request_limit: PositiveInt
    connection_limit: PositiveInt
    memory_bytes: PositiveInt
    command_seconds: PositiveFloat
    gateway_seconds: PositiveFloat
    request_seconds: PositiveFloat
    grace_seconds: PositiveFloat
    max_body_bytes: PositiveInt
    max_import_bytes: PositiveInt
    allowed_origins: tuple[str, ...]
    live: LiveSettings
    caching: CachingSettings
    cart: CartSettings
    order: OrderSettings
    channels: tuple[ChannelSettings, ...]
    shipping: tuple[ShippingSettings, ...]
    tax: tuple[TaxSettings, ...] = ()

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Reads the settings; a flag that is None counts as not given.

        Raises:
            ConfigurationError: a key is unknown, missing or invalid; one sentence names it and where it was set.
        """
        given = {key: value for key, value in flags.items() if value is not None}
        _refuse_unknown_variables(os.environ)
        try:
            settings = cls(**given)
            _ = settings.shop
        except ValidationError as error:
            raise ConfigurationError(_sentence(error, given)) from None
        except ConfigurationError:
            raise
        except ValueError as error:  # pydantic-settings: a variable that is not the JSON it has to be; the shop's rules
            raise ConfigurationError(f"The settings are invalid: {error}.") from None
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class calls with this name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class calls with this name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of the sources, the strongest first."""
        files = (InitSettingsSource(settings_cls, read_toml(path)) for path in config_files())
        return (init_settings, env_settings, *files)

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return path.expanduser()

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: str) -> str:
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("it has to begin with postgresql://")
        return url

    @field_validator("broker_url")
    @classmethod
    def _is_rabbitmq(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise ValueError("it has to look like amqp://user:password@host, or amqps:// for TLS")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("redis", "rediss") or not parts.hostname):
            raise ValueError("it has to look like redis://:password@host, or rediss:// for TLS")
        return url

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "null" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc.lower()}"):
                raise ValueError(f"{origin!r} is no origin: write it like https://shop.example, without a path")
        return origins

    @field_validator(*_NOT_THERE_YET)
    @classmethod
    def _has_an_adapter(cls, url: str, info: Any) -> str:
        if url:
            raise ValueError(
                f"this version has no adapter for {_NOT_THERE_YET[info.field_name]} yet; leave it out and the "
                "built-in one is used"
            )
        return url

    @cached_property
    def shop(self) -> ShopRules:
        """The rules of the shop as the domain knows them.

        Raises:
            ValueError: they contradict themselves or name what does not exist.
        """
        return ShopRules(
            channels=tuple(Channel(**channel.model_dump()) for channel in self.channels),
            shipping=tuple(_shipping_method(method) for method in self.shipping),
            tax=tuple(TaxRate(**row.model_dump()) for row in self.tax),
            limits=Limits(max_lines=self.cart.max_lines, max_quantity=self.cart.max_quantity),
            timing=Timing(quote_lock_seconds=self.cart.quote_lock_seconds, **self.order.model_dump()),
        )


def _shipping_method(method: ShippingSettings) -> ShippingMethod:
    rates = tuple(
        ShippingRate(price=Money.parse(rate.price, rate.currency), up_to_grams=rate.up_to_grams)
        for rate in method.rates
    )
    return ShippingMethod(**method.model_dump(exclude={"rates"}), rates=rates)


def config_dir() -> Path:
    """The directory of the configuration files: in an installed package, or beside the checkout's."""
    installed = Path(__file__).parent / "config"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "config"


def config_files() -> tuple[Path, Path]:
    """The environment's file and the defaults, the stronger first.

    Raises:
        ConfigurationError: ULTRAMARKET_ENV names an environment that has no file.
    """
    names = sorted(path.stem for path in config_dir().glob("*.toml") if path.stem != "default")
    name = os.environ.get(_ENVIRONMENT) or "development"
    if name not in names:
        raise ConfigurationError(f"{_ENVIRONMENT} is {name!r}, but has to be one of {', '.join(names)}.")
    return config_dir() / f"{name}.toml", config_dir() / "default.toml"


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a configuration file.

    Raises:
        ConfigurationError: it can't be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}.") from None


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {_ENVIRONMENT}
    for name, field in Settings.model_fields.items():
        known.add(_PREFIX + name.upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Group):
            known.update(f"{_PREFIX}{name}__{inner}".upper() for inner in field.annotation.model_fields)
    for variable in sorted(environment):
        if not variable.upper().startswith(_PREFIX) or variable.startswith(_RESERVED_FOR_TESTS):
            continue
        if variable.upper() not in known:
            raise ConfigurationError(f"The environment variable {variable} is unknown{_near(variable, known)}")


def _near(name: str, known: set[str]) -> str:
    by_ending = {each.removeprefix(_PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(_PREFIX), sorted(by_ending), 1)
    return f": did you mean {by_ending[close[0]]}?" if close else "."


def _sentence(error: ValidationError, flags: Mapping[str, Any]) -> str:
    """One sentence about the first thing that is wrong: which key, where it was set, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    top = str(first["loc"][0]) if first["loc"] else ""
    where = _origin([str(part) for part in first["loc"]], flags)
    if first["type"] == "extra_forbidden":
        near = _near(top, set(Settings.model_fields)) if len(first["loc"]) == 1 else "."
        return f"The setting {key} ({where}) is unknown{near}"
    if first["type"] == "missing":
        return f"The setting {key} is missing ({where})."
    reason = first["msg"].removeprefix("Value error, ")
    return f"The setting {key} ({where}) is invalid: {reason[:1].lower()}{reason[1:]}."


def _origin(loc: list[str], flags: Mapping[str, Any]) -> str:
    """Where the key at this place got its value from."""
    if not loc:
        return "config"
    if loc[0] in flags:
        return "a flag"
    for depth in (2, 1):
        variable = _PREFIX + "__".join(loc[:depth]).upper()
        if os.environ.get(variable):
            return f"environment variable {variable}"
    for path in config_files():
        table: Any = read_toml(path)
        for part in loc[:2]:
            table = table.get(part) if isinstance(table, dict) else table
        if table is not None:
            return f"config/{path.name}"
    return "config/default.toml"
