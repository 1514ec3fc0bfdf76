from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from temporalio.client import WorkflowFailureError

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.errors import ColonyError, Unavailable
from colony.ids import AgentType
from tests.integration.workflows.conftest import Colony, Opens, keep_history
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

GARDEN = Path(__file__).parents[3] / "examples" / "garden"
AGENTS = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}
CORPUS = {"research": {"corpus": "corpus"}}


def prepare(here: Colony, topics: str | None = None) -> None:
    shutil.copytree(GARDEN / "corpus", here.folder / "corpus")
    (here.folder / "topics.csv").write_text((GARDEN / "topics.csv").read_text() if topics is None else topics)


async def files(here: Colony, job: int) -> dict[str, bytes]:
    return {each.name: each.content for each in await here.ledger.artifacts(job)}


async def test_topics_and_a_corpus_become_posts_an_index_and_a_table(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        prepare(here)
        started = await start_job(here.client, "content_creation", {"source": "topics.csv", "corpus": "corpus"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert [step.ok for step in result.steps] == [12, 12, 12, 12, 12, 1, 1, 1, 1, 0]
        found = await files(here, result.job)
        assert set(found) == {"posts.zip", "index.md", "quality.md", "report.md", "results.json"}
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            pages = {name: archive.read(name).decode() for name in archive.namelist()}
        assert len(pages) == 12
        for name, page in pages.items():
            _, matter, body = page.split("---\n", 2)
            front = yaml.safe_load(matter)
            assert f"{front['slug']}.md" == name
            assert front["traced"] == 1.0
            assert front["draft"] is False
            assert front["sources"]
            assert f"(posts/{name})" in found["index.md"].decode()
            assert body.count("[^1]") >= 2  # the mark, and its note
        assert "12 of 12 posts passed all checks" in found["quality.md"].decode()
        index = found["index.md"].decode()
        choice, _, others = index.partition("## All posts")
        assert "## Editors' choice" in choice
        assert len([line for line in choice.splitlines() if line.startswith("- ")]) >= 1, "with the reasons"
        assert others.count("](posts/") >= 12
        await keep_history(here, started.workflow_id, "content_creation_newsroom")


class Absent:
    """A type whose agents are there for the work, and not for a word."""

    inner: ClassVar[type[Agent]] = AGENTS[AgentType("processing")]

    def __init__(self) -> None:
        self._agent = self.inner()

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.action in ("nominate_post", "choose_lead", "write_teaser"):
            raise Unavailable("Nobody is here.")
        return await self._agent.handle(task, ctx)

    async def health(self) -> str:
        return ""


class NoCoordination(Absent):
    inner = AGENTS[AgentType("coordination")]


@pytest.mark.parametrize(
    ("away", "chosen"),
    [({"processing": Absent}, True), ({"coordination": NoCoordination}, False)],
    ids=["author", "who decides"],
)
async def test_posts_are_whole_whoever_cannot_be_reached(
    colony: Opens, away: dict[str, type[Agent]], chosen: bool
) -> None:
    async with colony({**AGENTS, **{AgentType(name): kind for name, kind in away.items()}}) as here:
        prepare(here)
        started = await start_job(here.client, "content_creation", {"source": "topics.csv", "corpus": "corpus"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        found = await files(here, result.job)
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(archive.namelist()) == 12
        assert ("Editors' choice" in found["index.md"].decode()) is chosen, "the description stands for a teaser"
        assert "Topics that became no post" not in found["quality.md"].decode(), "nor is a post less for it"


async def test_a_corpus_names_its_own_topics(colony: Opens) -> None:
    async with colony(AGENTS) as here:
        prepare(here)
        started = await start_job(here.client, "content_creation", {"tasks": 5, "parameters": CORPUS})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        index = (await files(here, result.job))["index.md"].decode()
        assert "posts/compost.md" in index


async def test_topics_without_a_word_in_the_corpus_are_left_out_and_named(colony: Opens) -> None:
    topics = "topic,keywords\nmaking compost,\nquantum chromodynamics,\n ,nothing\ntomatoes and blight,\nmulch,\n"
    async with colony(AGENTS) as here:
        prepare(here, topics)
        started = await start_job(here.client, "content_creation", {"source": "topics.csv", "parameters": CORPUS})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        quality = (await files(here, result.job))["quality.md"].decode()
        assert "Topics that became no post: 2 (BadInput)" in quality
        letters = await here.ledger.dead_letters(result.job)
        reasons = {letter.message for letter in letters}
        assert any("The corpus says nothing of 'quantum chromodynamics'" in reason for reason in reasons)
        assert any("Field 'topic'" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("topics", "parameters", "reason"),
    [
        ("topic\nquantum chromodynamics\n", CORPUS, "The corpus says nothing of|BadInput"),
        ("topic\ncompost\n", {}, "BadInput"),
        ("topic\ncompost\n", {"research": {"corpus": "../.."}}, "NotPermitted"),
        ("topic\ncompost\n", {"research": {"corpus": "pictures"}}, "BadInput"),
        ("\0\1\2\3", CORPUS, "binary"),
    ],
)
async def test_what_cannot_become_posts_fails_with_its_reason(
    colony: Opens, topics: str, parameters: dict[str, object], reason: str
) -> None:
    async with colony(AGENTS) as here:
        prepare(here, topics)
        (here.folder / "pictures").mkdir()
        (here.folder / "pictures" / "a.md").write_bytes(b"\x89PNG\0\0\0" * 100)
        started = await start_job(here.client, "content_creation", {"source": "topics.csv", "parameters": parameters})
        with pytest.raises((ColonyError, WorkflowFailureError), match=reason):
            await await_job(here.client, started.workflow_id, timeout=60)


@pytest.mark.timeout(300)
async def test_a_thousand_topics_stay_within_bounds(colony: Opens) -> None:
    lines = ["topic", *(f"watering and mulch for bed {number}" for number in range(1_000))]
    async with colony(AGENTS) as here:
        prepare(here, "\n".join(lines) + "\n")
        started = await start_job(here.client, "content_creation", {"source": "topics.csv", "parameters": CORPUS})
        result = await await_job(here.client, started.workflow_id, timeout=280)
        found = await files(here, result.job)
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(set(archive.namelist())) == 1_000
        assert len(found["results.json"]) < 512 * 1024
        assert json.loads(found["results.json"])["collection"]["posts"] == 1_000
