"""Whole jobs over each kind of source: JSON Lines, Parquet, a folder of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet

from agents.base import AgentContext, AgentResult, AgentTask
from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.templates import InputConfig, StepConfig, TemplateConfig, TemplateKind
from colony.errors import BadInput
from colony.ids import AgentType, Id
from tests.integration.workflows.conftest import Colony, Opens
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

AGENTS = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}
REVIEWS: list[dict[str, Any]] = [
    {
        "review_id": f"r{number}",
        "review": ("Great battery, I love it.", "Terrible battery, it broke.", "It is a phone.")[number % 3],
        "stars": (5, 1, 3)[number % 3],
        "created_at": f"2024-{number % 9 + 1:02}-10",
    }
    for number in range(900)
]


def write_json_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in REVIEWS) + '\n{"review": \n')


def write_table(path: Path) -> None:
    columns = {
        name: Array([row[name] for row in REVIEWS], DataType.int64() if name == "stars" else DataType.string())
        for name in REVIEWS[0]
    }
    batch = RecordBatch.from_pydict(cast("dict[str, Any]", columns))  # pyright: ignore[reportUnknownMemberType]
    write_parquet(Table.from_batches([batch]), path, compression="zstd(3)")


async def reports_of(here: Colony, source: str) -> tuple[dict[str, Any], dict[str, str], int]:
    started = await start_job(here.client, "review_analysis", {"source": source})
    result = await await_job(here.client, started.workflow_id, timeout=60)
    assert [step.ok for step in result.steps] == [900, 900, 900, 2, 1, 0]
    artifacts = {each.name: each.content.decode() for each in await here.ledger.artifacts(result.job)}
    return json.loads(artifacts["results.json"])["report"], artifacts, result.bad_rows


async def test_json_lines_and_parquet_come_to_the_same_dated_report(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        write_json_lines(here.folder / "reviews.jsonl")
        write_table(here.folder / "reviews.parquet")
        of_lines, artifacts, broken = await reports_of(here, "reviews.jsonl")
        of_table, _, whole = await reports_of(here, "reviews.parquet")
        assert of_lines == of_table
        assert (broken, whole) == (1, 0)
        assert of_table["labels"] == {"positive": 300, "neutral": 300, "negative": 300}
        assert of_table["trend"]["unit"] == "month"
        assert [stretch["reviews"] for stretch in of_table["trend"]["stretches"]] == [100] * 9
        assert "| Sep 2024 | 100 |" in artifacts["report.md"]
        assert "number of reviews by month" in artifacts["report.html"]


async def test_a_broken_parquet_file_ends_the_job_with_its_name(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        (here.folder / "half.parquet").write_bytes(b"PAR1 and then the disk was full")
        started = await start_job(here.client, "review_analysis", {"source": "half.parquet"})
        with pytest.raises(BadInput, match=r"half\.parquet.*cannot be read"):
            await await_job(here.client, started.workflow_id, timeout=60)


class Reader:
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        content = await ctx.read_file(task.payload["path"])
        return AgentResult(value={"name": task.payload["name"], "words": len(content.split())})

    async def health(self) -> str:
        return ""


COUNT_WORDS = TemplateConfig(
    inputs={Id("folder"): InputConfig(type="path", required=True)},
    steps=(
        StepConfig(name=Id("load"), kind=TemplateKind.LOAD, rows={"$input": "folder"}),
        StepConfig(
            name=Id("count"), kind=TemplateKind.MAP, over=Id("load"), agent=AgentType("reader"), action=Id("count")
        ),
        StepConfig(name=Id("report"), kind=TemplateKind.REPORT, over=Id("count")),
    ),
)


async def test_a_map_over_the_files_of_a_folder(colony: Opens) -> None:
    async with colony({AgentType("reader"): Reader}, {Id("count_words"): COUNT_WORDS}) as here:
        folder = here.folder / "texts"
        (folder / "deep").mkdir(parents=True)
        for number in range(1_100):
            place = folder / "deep" if number % 2 else folder
            (place / f"{number:04}.txt").write_text("word " * number)
        (folder / ".hidden").write_text("not a file of mine")
        (folder / "link.txt").symlink_to(folder / "0002.txt")
        started = await start_job(here.client, "count_words", {"folder": "texts"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert [step.ok for step in result.steps] == [1_100, 1_100, 0]
        artifacts = {each.name: each.content.decode() for each in await here.ledger.artifacts(result.job)}
        data = json.loads(artifacts["results.json"])
        assert {(row["name"].rpartition("/")[2], row["words"]) for row in data["results"]} <= {
            (f"{number:04}.txt", number) for number in range(1_100)
        }
        assert len(data["results"]) == data["run"]["results_shown"] == 1_000
        assert data["run"]["results_total"] == 1_100
        assert "1,100 results; the first 1,000 are here" in artifacts["report.md"]
