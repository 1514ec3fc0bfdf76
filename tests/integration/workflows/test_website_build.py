from __future__ import annotations

import json
import shutil

import pytest

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from agents.skills.website_report import parse_site_report
from colony.errors import BadInput
from colony.ids import AgentType
from tests.documents import ROOT
from tests.integration.workflows.conftest import Opens, keep_history
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
AGENTS = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}


async def test_a_brief_becomes_a_site(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        shutil.copy(ROOT / "examples" / "brief.yaml", here.folder)
        started = await start_job(here.client, "website_build", {"source": "brief.yaml"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert [step.failed for step in result.steps] == [0] * 9
        artifacts = {each.name: each.content for each in await here.ledger.artifacts(result.job)}
        assert set(artifacts) == {"site.zip", "index.html", "report.md", "results.json"}
        report = parse_site_report(json.loads(artifacts["results.json"]))
        assert report.troubles
        assert all(trouble.mended for trouble in report.troubles)
        await keep_history(here, started.workflow_id, "website_build")


async def test_a_brief_that_lacks_a_part_ends_the_job_at_once(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        (here.folder / "brief.yaml").write_text("name: A\ndescription: b\n")
        started = await start_job(here.client, "website_build", {"source": "brief.yaml"})
        with pytest.raises(BadInput, match="lacks 'pages'"):
            await await_job(here.client, started.workflow_id, timeout=60)
