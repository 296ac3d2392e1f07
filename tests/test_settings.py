import itertools
import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from ultramarket import settings as module
from ultramarket.domain import shop
from ultramarket.domain.money import Money
from ultramarket.errors import ConfigurationError
from ultramarket.settings import (
    CartSettings,
    ChannelSettings,
    OrderSettings,
    Settings,
    ShippingRateSettings,
    ShippingSettings,
    TaxSettings,
    config_dir,
)

DEFAULTS = config_dir() / "default.toml"
TABLES: dict[str, type[BaseModel]] = {"channels": ChannelSettings, "shipping": ShippingSettings, "tax": TaxSettings}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("ULTRAMARKET_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration files that a test may write to."""
    copy = tmp_path / "config"
    shutil.copytree(config_dir(), copy)
    monkeypatch.setattr(module, "config_dir", lambda: copy)
    return copy


def with_groups(model: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names |= with_groups(inner, f"{name}.")
        else:
            names.add(prefix + name)
    return names


def flat(table: dict[str, Any]) -> set[str]:
    names: set[str] = set()
    for name, value in table.items():
        names |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
    return names


def test_the_file_of_defaults_has_every_key_of_the_model_and_no_other() -> None:
    # [[tax]] has no default row: an empty table is the default.
    assert flat(tomllib.loads(DEFAULTS.read_text())) | {"tax"} == with_groups(Settings)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_list_of_tables_is_shown_in_the_file_of_defaults(table: str) -> None:
    text = DEFAULTS.read_text()
    section = re.split(r"^(?:# )?\[", text.split(f"[[{table}]]")[1], flags=re.MULTILINE)[0]
    assert set(re.findall(r"^(?:# )?(\w+) =", section, flags=re.MULTILINE)) == set(TABLES[table].model_fields)


def test_every_key_of_the_file_of_defaults_has_a_comment() -> None:
    lines = [line for line in DEFAULTS.read_text().splitlines() if line]
    groups = re.compile(
        r"(max_quantity|broker_url|redis_url|mongo_url|search_url|name|code) ="
    )  # share one, or open one
    for above, line in itertools.pairwise(lines):
        if re.match(r"\w+ =", line) and not groups.match(line):
            assert above.startswith("# "), line


def test_the_tables_have_the_fields_of_the_domain() -> None:
    pairs: tuple[tuple[type[BaseModel], type[msgspec.Struct]], ...] = (
        (ChannelSettings, shop.Channel),
        (ShippingSettings, shop.ShippingMethod),
        (TaxSettings, shop.TaxRate),
        (CartSettings, shop.Limits),
        (OrderSettings, shop.Timing),
    )
    for model, struct in pairs:
        # How long a quote holds stands in [cart], where a shop looks for it.
        moved = {"quote_lock_seconds"}
        assert set(model.model_fields) - moved == {field.name for field in msgspec.structs.fields(struct)} - moved
    assert set(ShippingRateSettings.model_fields) == {"currency", "price", "up_to_grams"}


def test_the_defaults_are_a_new_shop() -> None:
    assert Settings.load().shop == shop.DEFAULT


@pytest.mark.parametrize("name", ["development", "test", "production"])
def test_every_environment_starts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ULTRAMARKET_ENV", name)
    assert Settings.load().committers == 1


def test_a_flag_goes_before_the_environment_before_its_file_before_the_defaults(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().http_port == 8080
    (config / "production.toml").write_text("http_port = 1\n[cart]\nmax_lines = 5\n")
    monkeypatch.setenv("ULTRAMARKET_ENV", "production")
    assert Settings.load().http_port == 1
    assert (Settings.load().cart.max_lines, Settings.load().cart.max_quantity) == (5, 999)
    monkeypatch.setenv("ULTRAMARKET_HTTP_PORT", "2")
    assert Settings.load().http_port == 2
    assert Settings.load(http_port=3).http_port == 3
    assert Settings.load(http_port=None).http_port == 2
    monkeypatch.setenv("ULTRAMARKET_CART__MAX_QUANTITY", "7")
    assert (Settings.load().cart.max_lines, Settings.load().cart.max_quantity) == (5, 7)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULTRAMARKET_HTTP_PORT", "")
    monkeypatch.setenv("ULTRAMARKET_BROKER_URL", "")
    monkeypatch.setenv("ULTRAMARKET_ENV", "")
    assert Settings.load().http_port == 8080


def test_the_rules_of_the_shop_come_from_the_file(config: Path) -> None:
    (config / "development.toml").write_text(
        '[[shipping]]\ncode = "dhl"\ntitle = { de = "DHL" }\nkind = "by_weight"\ncountries = ["DE"]\n'
        'rates = [{ currency = "EUR", price = "4.90", up_to_grams = 5000 }]\n'
        '[[tax]]\ncountry = "DE"\nrate = "0.19"\n'
    )
    rules = Settings.load().shop
    assert rules.shipping == (
        shop.ShippingMethod(
            code="dhl",
            title={"de": "DHL"},
            kind="by_weight",
            rates=(shop.ShippingRate(price=Money(490, "EUR"), up_to_grams=5000),),
            countries=("DE",),
        ),
    )
    assert rules.tax == (shop.TaxRate(country="DE", rate="0.19"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http_prot = 1", r"The setting http_prot \(config/development\.toml\) is unknown: did you mean http_port\?"),
        ("[cart]\nmax_linez = 1", r"The setting cart\.max_linez \(config/development\.toml\) is unknown\."),
        ('http_port = "many"', r"The setting http_port \(config/development\.toml\) is invalid: input should be"),
        ("committers = 0", r"The setting committers \(config/development\.toml\) is invalid"),
        ("http_port = ", r"development\.toml can't be read: Invalid value \(at "),
        ('[[tax]]\ncountry = "DE"', r"The setting tax\.0\.rate is missing \(config/development\.toml\)"),
        ('[[tax]]\ncountry = "XXL"\nrate = "0.1"', "'XXL' is not a country"),
        ('[[tax]]\ncountry = "DE"\nrate = "19 %"', "'19 %' is not a tax rate"),
        ('database_url = "mysql://root:hunter2@db"', r"database_url .* has to begin with postgresql://"),
    ],
)
def test_an_unknown_or_invalid_key_of_a_file_is_named_in_one_sentence(config: Path, text: str, sentence: str) -> None:
    (config / "development.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        Settings.load()
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "ULTRAMARKET_HTTP_PROT",
            "1",
            r"The environment variable ULTRAMARKET_HTTP_PROT is unknown: did you mean ULTRAMARKET_HTTP_PORT\?$",
        ),
        ("ULTRAMARKET_CART__MAX_LINEZ", "1", "ULTRAMARKET_CART__MAX_LINEZ is unknown: did you mean"),
        ("ULTRAMARKET_XYZZY", "1", r"ULTRAMARKET_XYZZY is unknown\.$"),
        ("ULTRAMARKET_HTTP_PORT", "99999", r"http_port \(environment variable ULTRAMARKET_HTTP_PORT\) is invalid"),
        ("ULTRAMARKET_CART__MAX_LINES", "-1", r"cart\.max_lines \(environment variable ULTRAMARKET_CART__MAX_LINES\)"),
        ("ULTRAMARKET_TAX", "[{", 'error parsing value for field "tax"'),
        ("ULTRAMARKET_ENV", "prod", "ULTRAMARKET_ENV is 'prod', but has to be one of development, production, test"),
        ("ULTRAMARKET_BROKER_URL", "http://u:hunter2@mq", "broker_url .* has to look like amqp://user:password@host"),
        ("ULTRAMARKET_BROKER_URL", "amqps:///shop", "broker_url .* has to look like amqp://user:password@host"),
        ("ULTRAMARKET_ALLOWED_ORIGINS", '["shop.example"]', "allowed_origins .* is no origin: write it like https://"),
        ("ULTRAMARKET_ALLOWED_ORIGINS", '["https://a.example/"]', "allowed_origins .* without a path"),
        ("ULTRAMARKET_LIVE__UNREAD_BYTES", "1000", r"live\.unread_bytes \(environment variable"),
        ("ULTRAMARKET_REDIS_URL", "http://u:hunter2@r", "redis_url .* has to look like redis://:password@host"),
        ("ULTRAMARKET_CACHING__MAX_AGE", "-1", r"caching\.max_age \(environment variable"),
        ("ULTRAMARKET_MONGO_URL", "mongodb://m", "no adapter for MongoDB yet"),
        ("ULTRAMARKET_SEARCH_URL", "http://e", "no adapter for Elasticsearch yet"),
    ],
)
def test_an_unknown_or_invalid_variable_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)


def test_variables_of_the_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULTRAMARKET_TEST_DATABASE_URL", "postgresql://elsewhere")
    assert Settings.load().database_url == ""


def test_an_unknown_flag_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"http_prot .* is unknown: did you mean http_port\?"):
        Settings.load(http_prot=1)


def test_secrets_are_not_in_the_text_of_the_settings() -> None:
    shown = repr(Settings.load(staff_key="um_staff_hunter2", database_url="postgresql://u:hunter2@db/shop"))
    assert "hunter2" not in shown


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert Settings.load(data_dir="~/shop").data_dir == Path("/home/ada/shop")
