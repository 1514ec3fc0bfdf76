from __future__ import annotations

import json

import pytest

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.ids import AgentType
from tests.integration.workflows.conftest import Opens, keep_history
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

REVIEWS = [
    ("Great battery life and a lovely screen, I love it.", 5),
    ("Terrible battery life. It broke after two days and support was rude.", 1),
    ("It is a phone.", 3),
    ("Fast delivery, excellent quality, works perfectly.", 5),
    ("Awful sound, I hate the speaker and want my money back.", 1),
]


async def test_the_main_job_writes_its_report(colony: Opens) -> None:
    agents = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}
    async with colony(agents) as here:
        lines = ["id,review,stars", *(f'{n},"{REVIEWS[n % 5][0]}",{REVIEWS[n % 5][1]}' for n in range(1200)), "broken"]
        (here.folder / "reviews.csv").write_text("\n".join(lines))
        started = await start_job(here.client, "review_analysis", {"source": "reviews.csv"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert result.bad_rows == 1
        assert [step.ok for step in result.steps] == [1200, 1200, 1200, 3, 1, 0]
        artifacts = {each.name: each.content.decode() for each in await here.ledger.artifacts(result.job)}
        assert set(artifacts) == {"report.md", "report.html", "results.json"}
        report = json.loads(artifacts["results.json"])["report"]
        assert report["reviews"] == 1200
        assert report["labels"] == {"positive": 480, "neutral": 240, "negative": 480}
        assert "1,200" in artifacts["report.md"]
        assert "<script src" not in artifacts["report.html"]
        await keep_history(here, started.workflow_id, "review_analysis")
