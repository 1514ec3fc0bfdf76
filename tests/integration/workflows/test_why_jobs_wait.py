"""`colony why` about jobs of a real Temporal server."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.errors import BadInput, NotFound
from colony.ids import AgentType, Id
from colony.ledger.memory import MemoryLedger
from control import session
from control.queues import read_queues
from control.why_contracts import Reason
from control.why_facts import asked_here, explain
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from workflows.client import await_job, start_job, update_job
from workflows.policies import DISPATCH_QUEUE, WORKFLOW_QUEUE

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Worker:
    """Says yes to everything."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("worker"): Worker}
TEXT = """
steps:
  - {name: load, kind: load, rows: [{n: 0}, {n: 1}]}
  - {name: ok, kind: approve, prompt: "Go on?", timeout: 600, default: reject}
  - {name: work, kind: map, over: load, agent: worker, action: work}
"""
STEP = "work"
TEMPLATES = {Id("asking"): TemplateConfig.model_validate(parse_document(TEXT).data)}


async def started(here: Colony, monkeypatch: pytest.MonkeyPatch) -> str:
    @asynccontextmanager
    async def ledger_here() -> AsyncGenerator[MemoryLedger]:
        yield here.ledger

    monkeypatch.setattr(session, "ledger_here", ledger_here)
    monkeypatch.setattr(
        session, "endpoints_here", lambda: SimpleNamespace(config_file="", temporal=here.endpoint, gateway=None)
    )
    name = f"why-{uuid.uuid4().hex[:8]}"
    await start_job(here.client, "asking", {}, name)
    return name


async def waits_for(name: str, code: str, words: str = "") -> Reason:
    seen: list[Reason] = []

    async def found() -> bool:
        try:
            reasons = (await explain(name)).reasons
        except NotFound:  # not open yet
            return False
        seen[:] = [reason for reason in reasons if reason.code == code and words in reason.what]
        return bool(seen)

    await assert_eventually(found, 30)
    return seen[0]


async def test_a_job_tells_what_it_waits_for(colony: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    async with colony(TYPES, TEMPLATES) as here:
        name = await started(here, monkeypatch)
        await waits_for(name, "approval", "Go on?")
        await waits_for(f"{name}/{STEP}/0", "approval")
        await update_job(here.client, name, "pause")
        paused = await waits_for(name, "paused")
        assert paused.since is not None
        assert paused.since <= time.time() + 1
        await update_job(here.client, name, "approve")
        await update_job(here.client, name, "resume")
        await await_job(here.client, name, timeout=60)
        assert [reason.code for reason in (await explain(name)).reasons] == ["ended"]
        assert [reason.code for reason in (await explain(f"{name}/{STEP}/1")).reasons] == ["done"]
        assert [reason.code for reason in (await explain(f"{name}/2/9")).reasons] == ["missing"]
        for wrong, error in (
            (f"{name}/nothing/1", NotFound),
            (f"{name}/{STEP}/x", BadInput),
            (f"none/{STEP}/1", NotFound),
        ):
            with pytest.raises(error):
                await explain(wrong)


async def test_a_queue_nobody_takes_from_is_told(colony: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    async with colony(TYPES, TEMPLATES, dispatch=False) as here:
        name = await started(here, monkeypatch)
        await waits_for(name, "approval")
        await update_job(here.client, name, "approve")
        await waits_for(name, "queue")
        queues = await read_queues(here.ledger, asked_here(), None)
        depths = {each.queue: each for each in queues.tasks}
        assert depths[DISPATCH_QUEUE].activities
        assert depths[WORKFLOW_QUEUE].pollers > 0
        assert queues.trouble == ()
        await here.client.get_workflow_handle(name).terminate()
