"""`colony template check FILE`: what is right, what is not, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from colony.config.templates import RESERVED
from colony.errors import BadInput, NotFound
from control.cli import build_app
from workflows.monitor_contracts import MonitorInput, SiteInput

RIGHT: dict[str, Any] = {
    "description": "Counts.",
    "inputs": {"rounds": {"type": "integer", "default": 2}},
    "steps": [
        {"name": "numbers", "kind": "load"},
        {"name": "work", "kind": "map", "over": "numbers", "agent": "probe", "action": "noop"},
        {"name": "look", "kind": "approve", "timeout": 60, "default": "reject"},
    ],
}


def check(file: Path, template: dict[str, Any], *arguments: str) -> Result:
    file.write_text(yaml.safe_dump({"workflows": {"mine": template}}), encoding="utf-8")
    return CliRunner().invoke(
        build_app(), ["template", "check", str(file), *arguments], catch_exceptions=False, env={"COLUMNS": "80"}
    )


def test_a_right_file_shows_its_plan(tmp_path: Path) -> None:
    done = check(tmp_path / "mine.yaml", RIGHT)
    assert done.exit_code == 0, done.output
    assert "probe: noop" in done.output
    assert "The template is right." in done.output
    assert max(map(len, done.output.splitlines())) <= 80


def test_machines_get_the_steps(tmp_path: Path) -> None:
    steps = json.loads(check(tmp_path / "mine.yaml", RIGHT, "--json").output)["mine"]
    assert [step["name"] for step in steps] == ["numbers", "work", "look"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"agent": "nobody"}, "nobody"),
        ({"action": "fly"}, "fly"),
        ({"over": "number"}, "number"),
        ({"kind": "juggle"}, "kind: Input should be 'load', 'map'"),
    ],
    ids=["type", "action", "reference", "kind"],
)
def test_a_wrong_file_names_what_is_wrong(tmp_path: Path, step: dict[str, Any], told: str) -> None:
    steps = [RIGHT["steps"][0], {**RIGHT["steps"][1], **step}]
    with pytest.raises(BadInput, match=told):
        check(tmp_path / "mine.yaml", {**RIGHT, "steps": steps})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises((BadInput, NotFound), match="none"):
        CliRunner().invoke(build_app(), ["template", "check", str(tmp_path / "none.yaml")], catch_exceptions=False)


def test_the_monitor_is_listed_and_checked_and_refused_as_a_call(tmp_path: Path) -> None:
    listed = json.loads(invoke("templates", "--json").output)["website_monitor"]
    assert set(listed["inputs"]) == set(MonitorInput.model_fields) - RESERVED | {"source"}
    site = SiteInput(url="http://a.example/")
    assert set(listed["inputs"]) - {"sites", "source", "webhook"} <= set(site.model_dump())
    assert "interval: number (default 60.0)" in invoke("templates").output
    assert "check_site" in invoke("template", "check", "website_monitor").output
    call = {"name": "watch", "kind": "call", "template": "website_monitor", "input": {"sites": ["a"]}}
    calling = {"steps": [RIGHT["steps"][0], call]}
    with pytest.raises(BadInput, match="until it is cancelled"):
        check(tmp_path / "calling.yaml", calling)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), [*arguments], catch_exceptions=False, env={"COLUMNS": "120"})


def test_a_file_without_a_template_is_told(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("", encoding="utf-8")
    done = CliRunner().invoke(build_app(), ["template", "check", str(file)], catch_exceptions=False)
    assert "No template of its own" in done.output
