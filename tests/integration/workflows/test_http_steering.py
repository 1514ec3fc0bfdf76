"""The HTTP API steers jobs of a real Temporal server: pause, priority, approve, cancel, retry, schedules, why."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import httpx
import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import BatchReport, BatchRequest
from colony.dispatch import BatchRunner, OnProgress
from colony.ids import AgentType, Id
from colony.messaging.port import Messenger
from colony.registry.port import Registry
from control.api.app import build_app
from control.api.edge import EdgeSettings
from control.api.outbox import Outbox
from control.api.parts import Parts
from control.api.slots import Slot
from control.why_facts import Asked
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from workflows.client import job_progress
from workflows.engine import TemporalEngine
from workflows.schedules import TemporalSchedules

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

KEY = "k" * 32


class Worker:
    """Refuses what is `bad` until it is `mended`."""

    mended = False

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.payload.get("bad") and not Worker.mended:
            raise ValueError("not like this")
        await asyncio.sleep(0.02)
        return AgentResult(value=dict(task.payload))

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("worker"): Worker}
ASKING = """
steps:
  - {name: load, kind: load, rows: [{n: 0}, {n: 1}]}
  - {name: ok, kind: approve, prompt: "Go on?", timeout: 600, default: reject}
  - {name: work, kind: map, over: load, agent: worker, action: work}
"""
WORKING = """
inputs:
  rows: {type: list, required: true}
steps:
  - {name: load, kind: load, rows: {$input: rows}}
  - {name: work, kind: map, over: load, agent: worker, action: work, attempts: 1, error_budget: 0.9}
"""
TEMPLATES = {
    Id(name): TemplateConfig.model_validate(parse_document(text).data)
    for name, text in (("asking", ASKING), ("working", WORKING))
}


class Noting:
    """A runner that notes the priorities of what is handed out."""

    def __init__(self, inner: BatchRunner) -> None:
        self._inner = inner
        self.priorities: list[int] = []

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `BatchRunner`."""
        self.priorities.append(request.priority)
        return await self._inner.run(request, on_progress)


class Api:
    """A client of the API, whose answers must be as expected."""

    def __init__(self, here: Colony, client: httpx.AsyncClient, runner: list[Noting]) -> None:
        self.here = here
        self.client = client
        self.runner = runner

    async def post(self, path: str, status: int = 202, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/v1{path}", json=body or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, status: int = 200) -> dict[str, Any]:
        answer = await self.client.get(f"/v1{path}")
        assert answer.status_code == status, answer.text
        return answer.json()

    async def submit(self, template: str, **given: Any) -> str:
        name = f"http-{uuid.uuid4().hex[:8]}"
        await self.post("/jobs", template=template, id=name, input=given)
        return name

    async def reach(self, name: str, state: str) -> dict[str, Any]:
        async def there() -> bool:
            answer = await self.client.get(f"/v1/jobs/{name}")
            return answer.status_code == 200 and answer.json()["state"] == state

        await assert_eventually(there, 40)
        return await self.get(f"/jobs/{name}")

    async def reasons(self, name: str) -> list[str]:
        return [reason["code"] for reason in (await self.get(f"/jobs/{name}/why"))["reasons"]]

    async def waits_for(self, name: str, code: str) -> None:
        async def does() -> bool:
            return code in await self.reasons(name)

        await assert_eventually(does, 40)


@asynccontextmanager
async def served(colony: Opens) -> AsyncGenerator[Api]:
    runner: list[Noting] = []

    def noting(inner: BatchRunner) -> BatchRunner:
        runner.append(Noting(inner))
        return runner[0]

    async with colony(TYPES, TEMPLATES, wrap=noting) as here:
        engine = TemporalEngine(here.client)
        parts = Parts(
            ledger=here.ledger,
            engine=engine,
            outbox=Outbox(here.ledger, engine),
            messenger=Slot[Messenger]("the bus"),
            registry=Slot[Registry]("the registry"),
            config=Config(workflows=TEMPLATES),
            schedules=TemporalSchedules(here.client),
            asked=Asked(lambda: nullcontext(here.client), None),
        )
        transport = httpx.ASGITransport(build_app(parts, EdgeSettings(key=KEY)))  # pyright: ignore[reportArgumentType] -- the same protocol, spelled otherwise
        headers = {"X-API-Key": KEY}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            yield Api(here, client, runner)


async def test_a_job_is_paused_prioritised_resumed_and_approved(colony: Opens) -> None:
    async with served(colony) as api:
        name = await api.submit("asking")
        await api.waits_for(name, "approval")
        await api.post(f"/jobs/{name}/pause")
        assert (await job_progress(api.here.client, name)).paused
        await api.waits_for(name, "paused")
        await api.post(f"/jobs/{name}/priority", priority=1)
        assert (await job_progress(api.here.client, name)).priority == 1
        await api.post(f"/jobs/{name}/approve", status=404, approve=True, step="nowhere")
        await api.post(f"/jobs/{name}/approve", approve=True, comment="fine", by="me")
        await api.post(f"/jobs/{name}/resume")
        done = await api.reach(name, "done")
        assert [(step["name"], step["ok"]) for step in done["steps"]][-1] == ("work", 2)
        assert await api.reasons(name) == ["ended"]
        assert set(api.runner[0].priorities) == {1}, "batches handed out afterwards"


async def test_a_rejection_fails_a_job_and_an_ended_one_takes_no_word(colony: Opens) -> None:
    async with served(colony) as api:
        name = await api.submit("asking")
        await api.waits_for(name, "approval")
        await api.post(f"/jobs/{name}/approve", approve=False, comment="not yet", by="me")
        assert "not yet" in (await api.reach(name, "failed"))["reason"]
        words: dict[str, dict[str, Any]] = {
            "pause": {}, "resume": {}, "cancel": {}, "priority": {"priority": 2}, "approve": {"approve": True},
        }  # fmt: skip
        for word, body in words.items():
            await api.post(f"/jobs/{name}/{word}", 409, **body)


async def test_a_job_is_cancelled(colony: Opens) -> None:
    async with served(colony) as api:
        name = await api.submit("asking")
        await api.waits_for(name, "approval")
        await api.post(f"/jobs/{name}/cancel")
        await api.reach(name, "cancelled")


async def test_a_schedule_is_triggered_and_forgotten(colony: Opens) -> None:
    async with served(colony) as api:
        name = f"every-{uuid.uuid4().hex[:8]}"
        rows = {"rows": [{"n": 1}]}
        await api.post("/schedules", 201, name=name, template="working", every=86_400, input=rows)
        await api.post("/schedules", 409, name=name, template="working", every=60, input=rows)
        await api.post("/schedules", 422, name=f"{name}-2", template="working", cron="99 6 * * *", input=rows)
        await api.post("/schedules", 422, name=f"{name}-2", template="working", every=60)
        await api.post(f"/schedules/{name}/pause", 200, note="holidays")
        await api.post(f"/schedules/{name}/trigger")

        async def started() -> list[str]:
            return (await api.get(f"/schedules/{name}"))["recent"]

        await assert_eventually(started, 40)
        (job,) = await started()
        await api.reach(job, "done")
        shown = await api.get(f"/schedules/{name}")
        assert (shown["paused"], shown["note"], shown["started"]) == (True, "holidays", 1)
        assert (await api.post(f"/schedules/{name}/resume", 200))["paused"] is False
        assert (await api.client.delete(f"/v1/schedules/{name}")).status_code == 204
        await api.get(f"/schedules/{name}", 404)


async def test_dead_letters_are_tried_again(colony: Opens) -> None:
    async with served(colony) as api:
        Worker.mended = False
        name = await api.submit("working", rows=[{"n": 1}, {"n": 2, "bad": True}, {"n": 3}])
        job = (await api.reach(name, "done"))["job"]
        (letter,) = (await api.get(f"/jobs/{name}/dead-letters"))["items"]
        assert (letter["seq"], letter["error"]) == (1, "ValueError")
        Worker.mended = True
        found = await api.post(f"/jobs/{name}/retry")
        assert (found["retry_of"], found["step"], found["tasks"]) == (job, "work", 1)
        done = await api.reach(found["job"]["id"], "done")
        assert (done["steps"][-1]["tasks"], done["steps"][-1]["ok"]) == (3, 3)
        assert (await api.get(f"/jobs/{found['job']['id']}/dead-letters"))["items"] == []
        await api.post(f"/jobs/{name}/retry", 409)
        await api.post(f"/jobs/{found['job']['id']}/retry", 422)
