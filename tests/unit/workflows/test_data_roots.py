"""Whatever way a path comes into a job, nothing outside the data roots is opened for its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.config.model import Config
from colony.config.templates import InputConfig, StepConfig, TemplateConfig, TemplateKind
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import JobPlan
from colony.ledger.memory import MemoryLedger
from workflows.activities_io import IoActivities
from workflows.contracts import OpenJob

WORK = StepConfig(name=Id("work"), over=Id("load"), agent=AgentType("probe"), action=Id("noop"))
LOAD: dict[str, Any] = {"name": "load", "kind": "load", "rows": {"$input": "f"}}


def reading(kind: str) -> TemplateConfig:
    load = StepConfig(name=Id("load"), kind=TemplateKind.LOAD, rows={"$input": "f"})
    return TemplateConfig(inputs={Id("f"): InputConfig.model_validate({"type": kind})}, steps=(load, WORK))


async def opened(root: Path, template: str, given: dict[str, Any]) -> JobPlan:
    config = Config(workflows={Id("texts"): reading("string"), Id("paths"): reading("path")})
    io = IoActivities(MemoryLedger(SystemClock()), config, [root])
    request = OpenJob(template=template, input=json.dumps(given), key="key", workflow_id="w")
    return await ActivityEnvironment().run(io.open_job, request)


def asked(template: str, path: str, kind: str = "string") -> dict[str, Any]:
    if template != "pipeline":
        return {"f": path}
    return {"template": {"inputs": {"f": {"type": kind}}, "steps": [{**LOAD}, WORK.model_dump(mode="json")]}, "f": path}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a file, a folder, and ways out of it; the secret lies beside it."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "in.csv").write_text("text\ninside\n")
    (root / "folder" / "a.txt").write_text("a")
    (tmp_path / "secret.csv").write_text("text\nsecret\n")
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "way-out").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    return root


@pytest.mark.parametrize("template", ["texts", "paths", "pipeline"])
@pytest.mark.parametrize(
    "path",
    [
        "{outside}/secret.csv",
        "{outside}",
        "../secret.csv",
        "folder/../../secret.csv",
        "link.csv",
        "way-out",
        "way-out/secret.csv",
        "circle",
        "/etc/passwd",
        "/etc",
        "/proc/self/environ",
        "",
        "\0",
        "in.csv\0",
        "a" * 5_000,
        "\ud800",
        "~/.ssh",
    ],
)
async def test_a_path_that_leads_out_is_refused(root: Path, template: str, path: str) -> None:
    with pytest.raises(BadInput):
        await opened(root, template, asked(template, path.replace("{outside}", str(root.parent))))


@pytest.mark.parametrize("template", ["texts", "paths", "pipeline"])
async def test_a_path_below_a_root_is_read(root: Path, template: str) -> None:
    for path in ("in.csv", str(root / "in.csv"), "folder/../in.csv"):
        plan = await opened(root, template, asked(template, path))
        assert plan.source is not None
        assert plan.source.path == str(root / "in.csv")
    plan = await opened(root, template, asked(template, "folder"))
    assert plan.source is not None
    assert [row["name"] for row in plan.source.rows] == ["a.txt"]


async def test_no_type_of_an_input_opens_another_way(root: Path) -> None:
    outside = str(root.parent / "secret.csv")
    for kind in ("string", "path", "list", "object", "integer"):
        with pytest.raises(BadInput):
            await opened(root, "pipeline", asked("pipeline", outside, kind))
    inline = asked("pipeline", outside)
    inline["template"]["inputs"]["f"]["default"] = outside
    del inline["f"]
    with pytest.raises(BadInput, match="outside the data roots"):
        await opened(root, "pipeline", inline)
    inline["template"]["steps"][0]["rows"] = outside
    with pytest.raises(BadInput):
        await opened(root, "pipeline", inline)


async def test_texts_in_a_list_are_rows_and_not_paths(root: Path) -> None:
    given = asked("pipeline", "", "list")
    given["f"] = ["/etc/passwd", {"path": "/etc/passwd"}]
    plan = await opened(root, "pipeline", given)
    assert plan.source is not None
    assert plan.source.rows == ({"value": "/etc/passwd"}, {"path": "/etc/passwd"})
