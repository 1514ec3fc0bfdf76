"""The tier of a step, from the template to the call of a model: that of the call goes before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
from temporalio.testing import ActivityEnvironment

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import SystemClock
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.contracts import BatchRequest
from colony.ids import AgentType, Id
from colony.jobs import JobPlan
from colony.ledger.memory import MemoryLedger
from colony.llm.port import ChatAnswer
from workflows.activities_io import IoActivities
from workflows.contracts import OpenJob
from workflows.loading import load_tasks_of
from workflows.local_runner import local_runner

STEPS = [
    {"name": "load", "kind": "load", "rows": [{"tier": ""}, {"tier": "fast"}]},
    {"name": "plain", "kind": "map", "over": "load", "agent": "asker", "action": "ask"},
    {"name": "hard", "kind": "map", "over": "load", "agent": "asker", "action": "ask", "tier": "complex"},
]


class Asker:
    """Asks a model as its payload says, and gives back the tier of its task."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await ctx.llm.chat("why?", tier=task.payload["tier"])
        return AgentResult(value={"tier": task.tier})

    async def health(self) -> str:
        return ""


class Listener:
    """A model that remembers the tier of each call."""

    enabled = True

    def __init__(self) -> None:
        self.tiers: list[str] = []

    async def chat(self, prompt: str, *, tier: str = "", **_: Any) -> ChatAnswer:
        self.tiers.append(tier)
        return ChatAnswer(text="", model="m", prompt_tokens=1, completion_tokens=0, finish_reason="stop")


async def opened(ledger: MemoryLedger, folder: Path) -> JobPlan:
    config = Config(workflows={Id("ask"): TemplateConfig.model_validate({"steps": STEPS})})
    request = OpenJob(template="ask", input=json.dumps({}), key="k", workflow_id="w")
    return await ActivityEnvironment().run(IoActivities(ledger, config, [folder]).open_job, request)


async def test_from_the_template_to_the_call(tmp_path: Path) -> None:
    ledger = MemoryLedger(SystemClock())
    plan = await opened(ledger, tmp_path)
    assert [step.tier for step in plan.steps] == ["", "", "complex"]
    model = Listener()
    found: list[list[Any]] = []
    async with local_runner(ledger, {AgentType("asker"): Asker}, model=model) as runner:
        for step in plan.steps:
            loaded = await load_tasks_of(ledger, plan, step)
            if step.agent_type is None:
                continue
            batch = BatchRequest(job=plan.job, key=plan.key, step=step.number, first=0, end=loaded.tasks)
            report = await runner.run(batch, lambda _: None)
            assert report.ok == 2, report
            results = await ledger.results(plan.job, step.number, 0, 9)
            found.append([orjson.loads(result)["tier"] for _, result in results])
    assert found == [["", ""], ["complex", "complex"]]
    assert model.tiers == ["", "fast", "complex", "fast"]
