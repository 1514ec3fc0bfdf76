from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from colony.config.schema import json_schema
from colony.errors import ConfigInvalid
from control.commands import config

runner = CliRunner()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLONY_HOME", str(tmp_path / "home"))
    app = typer.Typer()
    config.register(app)
    return app


def test_show_names_where_values_came_from(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent_config.yaml").write_text("fleet:\n  hosts: 3\n")
    monkeypatch.setenv("COLONY_FLEET__QUEUE_LENGTH", "12")
    report = json.loads(runner.invoke(app, ["config", "show", "--origin", "--json"]).stdout)
    assert report["values"]["fleet.hosts"] == 3
    assert report["origins"]["fleet.hosts"] == f"{tmp_path / 'agent_config.yaml'}:2"
    assert report["origins"]["fleet.queue_length"] == "environment COLONY_FLEET__QUEUE_LENGTH"
    assert report["origins"]["model.slots"] == "default"
    lines = runner.invoke(app, ["config", "show", "--origin"]).stdout.splitlines()
    assert f"fleet.hosts: 3  # {tmp_path / 'agent_config.yaml'}:2" in lines


def test_show_hides_credentials_inside_addresses(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("servers:\n  nats: nats://me:hunter2@127.0.0.1:4222\n")
    shown = runner.invoke(app, ["config", "show", "--file", str(path)]).stdout
    assert "hunter2" not in shown
    assert '"nats://***@127.0.0.1:4222"' in shown


def test_check_says_fine_or_raises_with_the_line(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("fleet: {hosts: 2}\n")
    good = runner.invoke(app, ["config", "check", str(path)])
    assert good.exit_code == 0
    assert "620 agents of " in good.stdout
    path.write_text("fleet: {hosts: 0}\n")
    bad = runner.invoke(app, ["config", "check", str(path)])
    assert isinstance(bad.exception, ConfigInvalid)
    assert f"{path}:1: fleet.hosts" in str(bad.exception)


def test_schema_prints_the_schema(app: typer.Typer) -> None:
    assert json.loads(runner.invoke(app, ["config", "schema"]).stdout) == json_schema()
