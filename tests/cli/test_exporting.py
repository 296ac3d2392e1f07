import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cli.test_importing import BAD, HEAD, written
from ultramarket.cli import app

OURS = HEAD + "candle,Candle,CANDLE-1,9.50\nlamp,Lamp,LAMP-1,12.00\n"


@pytest.fixture
def shop(kept_shop: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a shop that runs; its data directory is in the settings."""
    monkeypatch.setenv("ULTRAMARKET_DATA_DIR", str(kept_shop[0]))
    url: str = kept_shop[1]["url"]
    return url


def test_what_was_brought_out_changes_nothing_when_it_is_brought_in_again(
    runner: CliRunner, shop: str, tmp_path: Path
) -> None:
    runner.invoke(app, ["import", "products", written(tmp_path, OURS), "--url", shop])
    file = tmp_path / "out.csv"
    file.write_text("what was there")
    result = runner.invoke(app, ["export", "products", str(file), "--url", shop])
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"{file}: {file.stat().st_size:,} bytes" in result.stderr.replace("\n", "")
    assert "\ncandle,Candle," in file.read_text()
    said = runner.invoke(app, ["import", "products", str(file), "--url", shop, "--json"]).stdout
    done = json.loads(said)
    assert done["products"] == 0
    # Others who use this shop sell some of their goods in another currency alone.
    assert {refusal["reason"] for refusal in done["refused"]} <= {"Variant Price: is missing"}
    assert done["unchanged"] >= 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_it_can_be_written_to_a_pipe(runner: CliRunner, shop: str) -> None:
    result = runner.invoke(app, ["export", "products", "-", "--url", shop])
    assert result.exit_code == 0
    assert result.stdout.startswith("Handle,Title,Body (HTML),")


def test_a_refusal_leaves_the_file_as_it_was(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text(BAD)
    result = runner.invoke(app, ["export", "products", str(file), "--currency", "XYZ", "--url", shop])
    assert result.exit_code == 1
    assert f"{shop} refused (422)" in result.stderr
    assert file.read_text() == BAD


def test_a_file_that_can_not_be_written_is_said(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["export", "products", str(tmp_path / "no" / "out.csv"), "--url", shop])
    assert (result.exit_code, "can't be written" in result.stderr) == (1, True)
