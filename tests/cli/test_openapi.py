import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ultramarket.cli import app, openapi


def test_the_document_is_printed(runner: CliRunner) -> None:
    assert json.loads(runner.invoke(app, ["openapi"]).stdout)["openapi"] == "3.1.0"


def test_what_was_written_is_up_to_date_until_it_is_changed(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openapi, "PATH", tmp_path / "openapi.json")
    assert runner.invoke(app, ["openapi", "--check"]).exit_code == 1
    assert runner.invoke(app, ["openapi", "--write"]).exit_code == 0
    assert (tmp_path / "openapi.json").read_text() == runner.invoke(app, ["openapi"]).stdout
    assert runner.invoke(app, ["openapi", "--check"]).exit_code == 0
    (tmp_path / "openapi.json").write_text("{}")
    result = runner.invoke(app, ["openapi", "--check"])
    assert result.exit_code == 1
    assert "run `ultramarket openapi --write`" in result.stderr


def test_without_a_checkout_there_is_nothing_to_keep_in_step(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openapi, "PATH", tmp_path / "docs" / "openapi.json")
    assert runner.invoke(app, ["openapi", "--check"]).exit_code == 1


def test_checking_and_writing_exclude_each_other(runner: CliRunner) -> None:
    assert runner.invoke(app, ["openapi", "--check", "--write"]).exit_code == 2
