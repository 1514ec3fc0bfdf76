"""The template `website_build` over the ledger and the local runner, from the brief to the artifacts."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from agents.skills.website_report import parse_site_report
from colony.clock import SystemClock
from colony.config.model import Config
from colony.contracts import Artifact, BatchRequest
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import TASK_KINDS, JobPlan, StepKind
from colony.ledger.memory import MemoryLedger
from tests.documents import ROOT
from workflows.activities_io import IoActivities
from workflows.contracts import OpenJob, ReportInput
from workflows.loading import load_tasks_of
from workflows.local_runner import local_runner
from workflows.reporting import artifacts_of

AGENTS = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}


async def built(folder: Path, brief: str) -> dict[str, Artifact]:
    """Runs the steps one after the other, as the workflow would."""
    (folder / "brief.yaml").write_text(brief, encoding="utf-8")
    ledger = MemoryLedger(SystemClock())
    plan = await opened(ledger, folder)
    async with local_runner(ledger, AGENTS) as runner:
        for step in plan.steps:
            if step.kind is StepKind.REPORT:
                request = ReportInput(job=plan.job, step=step.number, bad_rows=0, counts=(), started_at=0.0)
                return {each.name: each for each in await artifacts_of(ledger, plan, request)}
            loaded = await load_tasks_of(ledger, plan, step)
            if step.kind in TASK_KINDS:
                batch = BatchRequest(job=plan.job, key=plan.key, step=step.number, first=0, end=loaded.tasks)
                report = await runner.run(batch, lambda progress: None)
                assert (report.ok, report.failed) == (loaded.tasks, 0), report
    raise AssertionError("the template has no report")


async def opened(ledger: MemoryLedger, folder: Path) -> JobPlan:
    from temporalio.testing import ActivityEnvironment

    io_activities = IoActivities(ledger, Config(), [folder])
    request = OpenJob(template="website_build", input=json.dumps({"source": "brief.yaml"}), key="k", workflow_id="w")
    return await ActivityEnvironment().run(io_activities.open_job, request)


async def test_the_example_becomes_a_site_and_what_fails_goes_back_to_its_author(tmp_path: Path) -> None:
    artifacts = await built(tmp_path, (ROOT / "examples" / "brief.yaml").read_text("utf-8"))
    assert set(artifacts) == {"site.zip", "index.html", "report.md", "results.json"}
    report = parse_site_report(json.loads(artifacts["results.json"].content))
    assert [(row.rule, row.left) for row in report.rules() if row.left] == []
    assert {(each.path, each.finding.rule) for each in report.troubles} == {
        ("order.html", "links"),
        ("assets/site.css", "contrast"),
    }
    with zipfile.ZipFile(io.BytesIO(artifacts["site.zip"].content)) as archive:
        names = set(archive.namelist())
        assert names == {row.path for row in report.files} | {"sitemap.xml", "feed.xml", "robots.txt"}
        assert "trade-list" not in archive.read("order.html").decode()
    page = artifacts["index.html"].content.decode()
    assert 'src="data:image/svg+xml;base64,' in page
    assert 'href="assets/' not in page
    assert "Larch & Loaf" in artifacts["report.md"].content.decode()


async def test_the_same_brief_makes_the_same_site(tmp_path: Path) -> None:
    brief = (ROOT / "examples" / "brief.yaml").read_text("utf-8")
    first = await built(tmp_path, brief)
    second = await built(tmp_path, brief)
    assert first["site.zip"].content == second["site.zip"].content


async def test_hostile_words_stay_words(tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script>" onload="x'
    artifacts = await built(
        tmp_path,
        f"""
name: '{hostile}'
tagline: '{hostile}'
description: 'A text with {hostile} in it.'
pages:
  - title: '{hostile}'
    sections: [{{title: '{hostile}', text: '{hostile}', picture: '{hostile}'}}]
posts: [{{title: '{hostile}', date: 2026-01-01, text: '{hostile}'}}]
""",
    )
    report = parse_site_report(json.loads(artifacts["results.json"].content))
    assert [row for row in report.rules() if row.left] == []
    with zipfile.ZipFile(io.BytesIO(artifacts["site.zip"].content)) as archive:
        for name in archive.namelist():
            text = archive.read(name).decode()
            assert "<script>alert" not in text, name
            assert '" onload="' not in text, name


@pytest.mark.parametrize(
    ("brief", "said"),
    [
        ("description: x\npages: [{title: Home}]\n", "lacks 'name'"),
        ("name: A\ndescription: b\n", "lacks 'pages'"),
        ("name: A\ndescription: b\npages: [{summary: c}]\n", r"lacks 'pages\[0\].title' \(line 3\)"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
            "values, aliases counted",
        ),
        ("name: A\ndescription: b\npages:\n" + "- {title: P}\n" * 10_000, "more than 65,536"),
        ("", "empty"),
    ],
    ids=["no name", "no pages", "no title", "bomb", "10,000 pages", "nothing"],
)
async def test_a_wrong_brief_is_refused_before_the_job_begins(tmp_path: Path, brief: str, said: str) -> None:
    (tmp_path / "brief.yaml").write_text(brief)
    with pytest.raises(BadInput, match=said):
        await opened(MemoryLedger(SystemClock()), tmp_path)


async def test_a_brief_that_changes_after_the_job_was_opened_is_refused(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "brief.yaml", tmp_path)
    ledger = MemoryLedger(SystemClock())
    plan = await opened(ledger, tmp_path)
    assert plan.template == Id("website_build")
    (tmp_path / "brief.yaml").write_text("name: Other\ndescription: b\npages: [{title: Home}]\n")
    with pytest.raises(BadInput, match="changed after the job was opened"):
        await load_tasks_of(ledger, plan, plan.steps[0])
