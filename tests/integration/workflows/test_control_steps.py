"""Steps that wait, ask, choose and call; and what people tell a job while it runs."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import JobState
from colony.errors import BadInput, Cancelled, NotFound, Rejected
from colony.ids import AgentType, Id
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens, keep_history
from tests.servers.temporal import temporal_cli
from workflows.client import await_job, cancel_job, job_progress, start_job, update_job
from workflows.contracts import Progress

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Worker:
    """Counts, scores, hands off, and shows the parameters it was given."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        match task.action:
            case "grow":
                return AgentResult(value={"size": int(task.payload.get("size", 0)) + 1})
            case "judge":
                part = task.payload
                results = await ctx.results(part["step"], part["first"], part["end"])
                return AgentResult(value={"size": max(result["size"] for result in results), "n": len(results)})
            case "slow":
                await asyncio.sleep(0.05)
                return AgentResult(value={})
            case "sort":
                if task.payload["n"] % 2:
                    return AgentResult(
                        value={"hand_off": {"agent": "odd", "action": "take", "payload": {"n": task.payload["n"]}}}
                    )
                return AgentResult(value={"n": task.payload["n"], "by": "even"})
            case "take":
                return AgentResult(value={"n": task.payload["n"], "by": "odd"})
            case _:
                return AgentResult(value={**task.parameters, **task.payload})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("worker"): Worker, AgentType("odd"): Worker}


def templates(**texts: str) -> dict[Id, TemplateConfig]:
    return {Id(name): TemplateConfig.model_validate(parse_document(text).data) for name, text in texts.items()}


ONE_ROW = "- {name: load, kind: load, rows: [{size: 0}]}"


async def until(here: Colony, name: str, holds: Callable[[Progress], bool]) -> Progress:
    async def look() -> bool:
        return holds(await job_progress(here.client, name))

    await assert_eventually(look, 30)
    return await job_progress(here.client, name)


async def results_of(here: Colony, job: int, step: int) -> list[dict[str, Any]]:
    tasks = await here.ledger.task_count(job, step) or 0
    return [json.loads(result) for _, result in await here.ledger.results(job, step, 0, tasks)]


LOOP = f"""
inputs:
  goal: {{type: integer, minimum: 1, required: true}}
steps:
{ONE_ROW}
- {{name: first, over: load, agent: worker, action: grow}}
- name: improve
  kind: loop
  most: 4
  carry: {{first: grow}}
  until: {{on: {{step: judge, field: size}}, when: {{at_least: 3}}}}
  steps:
  - {{name: grow, over: first, agent: worker, action: grow}}
  - {{name: judge, kind: reduce, over: grow, agent: worker, action: judge}}
- name: choose
  kind: branch
  on: {{step: judge, field: size}}
  cases: [{{when: {{equals: 3}}, go: right}}]
- {{name: wrong, over: grow, agent: worker, action: echo}}
- name: right
  over: grow
  agent: worker
  action: echo
  parameters: {{goal: {{$input: goal}}, seen: {{$step: judge, field: size}}, good: {{$step: judge, count: ok}}}}
- {{name: report, kind: report, over: right}}
"""


async def test_a_loop_ends_when_it_may_and_a_branch_goes_past_steps(colony: Opens) -> None:
    async with colony(TYPES, templates(looped=LOOP)) as here:
        started = await start_job(here.client, "looped", {"goal": 3})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        ran = [step.name for step in result.steps if not step.skipped]
        assert ran == [
            "load", "first", "grow", "judge", "improve", "grow-2", "judge-2", "improve-2", "choose", "right", "report",
        ]  # fmt: skip
        right = next(step.number for step in result.steps if step.name == "right")
        assert await results_of(here, result.job, right) == [{"goal": 3, "seen": 3, "good": 1, "size": 3}]
        progress = await job_progress(here.client, started.workflow_id)
        assert progress.skipped == ("grow-3", "judge-3", "improve-3", "grow-4", "judge-4", "wrong")
        seen = await here.client.get_workflow_handle(started.workflow_id).query("steps")
        assert [step["state"] for step in seen if step["name"] == "wrong"] == ["skipped"]
        await keep_history(here, started.workflow_id, "loop_and_branch")
        for wrong, says in [({}, "'goal' is missing"), ({"goal": 0}, "less than 1"), ({"goal": "3"}, "is a text")]:
            refused = await start_job(here.client, "looped", wrong)
            with pytest.raises(BadInput, match=says):
                await await_job(here.client, refused.workflow_id, timeout=60)


HAND_OFF = """
inputs:
  numbers: {type: list, required: true}
steps:
- {name: load, kind: load, rows: {$input: numbers}}
- {name: sort, over: load, agent: worker, action: sort, hand_off: {most: 2, to: [{agent: odd, action: take}]}}
- {name: all, over: sort, agent: worker, action: echo}
"""


async def test_work_is_handed_off_and_comes_together_again(colony: Opens) -> None:
    async with colony(TYPES, templates(handing=HAND_OFF)) as here:
        started = await start_job(here.client, "handing", {"numbers": [{"n": n} for n in range(7)]})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert {step.name: (step.tasks, step.skipped) for step in result.steps} == {
            "load": (7, False),
            "sort": (7, False),
            "sort-take-1": (3, False),
            "sort-take-2": (0, True),
            "all": (7, False),
        }
        found = await results_of(here, result.job, 4)
        assert sorted((each["n"], each["by"]) for each in found) == [(n, "odd" if n % 2 else "even") for n in range(7)]
        await keep_history(here, started.workflow_id, "hand_off")


APPROVAL = f"""
steps:
{ONE_ROW}
- {{name: first, over: load, agent: worker, action: grow}}
- {{name: look, kind: reduce, over: first, agent: worker, action: judge}}
- {{name: ask, kind: approve, prompt: "Publish?", timeout: 600, show: {{step: look, field: size}}}}
- {{name: last, over: first, agent: worker, action: echo, parameters: {{why: {{$step: ask, field: comment}}}}}}
"""


async def test_a_person_approves_and_the_comment_goes_on(colony: Opens) -> None:
    async with colony(TYPES, templates(asking=APPROVAL)) as here:
        name = (await start_job(here.client, "asking", {})).workflow_id
        progress = await until(here, name, lambda seen: bool(seen.approvals))
        assert (progress.approvals[0].prompt, progress.approvals[0].shown) == ("Publish?", 1)
        assert progress.approvals[0].until - progress.approvals[0].since == pytest.approx(600)
        assert "approval of step ask" in progress.waiting_for
        with pytest.raises(NotFound, match="no approve step 'nope'"):
            await update_job(here.client, name, "approve", {"step": "nope"})
        with pytest.raises(BadInput, match="'yes'"):
            await update_job(here.client, name, "approve", {"yes": 1})
        code, output = await temporal_cli(
            here.endpoint, "workflow", "signal", "--workflow-id", name, "--name", "approve", "--input", "[1]"
        )
        assert code == 0, output
        await until(here, name, lambda seen: "answer" in seen.refused)
        decision = await update_job(here.client, name, "approve", {"step": "ask", "comment": "good", "by": "eve"})
        assert decision["approved"]
        result = await await_job(here.client, name, timeout=60)
        assert await results_of(here, result.job, 4) == [{"why": "good", "size": 1}]
        with pytest.raises(NotFound):
            await update_job(here.client, name, "approve", {})
        await keep_history(here, name, "approved")


async def test_a_rejection_fails_the_job_and_silence_takes_the_default(colony: Opens) -> None:
    silent = APPROVAL.replace("timeout: 600", "timeout: 0.5")
    kind = silent.replace("timeout: 0.5", "timeout: 0.5, default: approve")
    skip = APPROVAL.replace("timeout: 600", "on_reject: skip")
    async with colony(TYPES, templates(asking=APPROVAL, silent=silent, kind=kind, skip=skip)) as here:
        name = (await start_job(here.client, "asking", {})).workflow_id
        await until(here, name, lambda seen: bool(seen.approvals))
        code, output = await temporal_cli(
            here.endpoint,
            *("workflow", "signal", "--workflow-id", name, "--name", "approve"),
            *("--input", '{"approve": false, "comment": "not yet", "by": "bob"}'),
        )
        assert code == 0, output
        with pytest.raises(Rejected, match="rejected by bob: not yet"):
            await await_job(here.client, name, timeout=60)
        with pytest.raises(Rejected, match="nobody approved in time"):
            await await_job(here.client, (await start_job(here.client, "silent", {})).workflow_id, timeout=60)
        result = await await_job(here.client, (await start_job(here.client, "kind", {})).workflow_id, timeout=60)
        assert not result.steps[4].skipped
        name = (await start_job(here.client, "skip", {})).workflow_id
        await until(here, name, lambda seen: bool(seen.approvals))
        await update_job(here.client, name, "approve", {"approve": False})
        result = await await_job(here.client, name, timeout=60)
        assert (result.state, result.steps[4].skipped) == (JobState.DONE, True)


SLOW = """
steps:
- {name: load, kind: load}
- {name: work, over: load, agent: worker, action: slow, batch: 5, parallel: 1}
- {name: rest, kind: wait, seconds: 0.2}
"""


async def test_a_paused_job_hands_out_nothing_until_it_is_resumed(colony: Opens) -> None:
    async with colony(TYPES, templates(slow=SLOW)) as here:
        name = (await start_job(here.client, "slow", {"tasks": 60})).workflow_id
        await until(here, name, lambda seen: seen.done > 0)
        await update_job(here.client, name, "pause")
        progress = await until(here, name, lambda seen: seen.paused and seen.batches == 0)
        assert progress.waiting_for == "resume"
        assert 0 < progress.done < 60
        await asyncio.sleep(0.7)
        assert (await job_progress(here.client, name)).done == progress.done
        with pytest.raises(BadInput, match="no priority"):
            await update_job(here.client, name, "set_priority", 9)
        assert await update_job(here.client, name, "set_priority", 1) == 1
        code, output = await temporal_cli(
            here.endpoint, "workflow", "signal", "--workflow-id", name, "--name", "resume", "--input", '{"x": 1}'
        )
        assert code == 0, output
        result = await await_job(here.client, name, timeout=60)
        assert result.steps[1].ok == 60
        await keep_history(here, name, "paused")


CALLER = """
steps:
- {name: load, kind: load, rows: [{size: 0}]}
- {name: sub, kind: call, template: slow, input: {tasks: 10}}
- name: after
  over: load
  agent: worker
  action: echo
  parameters: {done: {$step: sub, field: steps.work.ok}, state: {$step: sub, field: state}}
"""


async def test_a_job_calls_a_job_and_learns_how_it_ended(colony: Opens) -> None:
    async with colony(TYPES, templates(slow=SLOW, caller=CALLER)) as here:
        started = await start_job(here.client, "caller", {"tenant": "acme", "priority": 2})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert await results_of(here, result.job, 2) == [{"done": 10, "state": "done", "size": 0}]
        child = next(job for job in await here.ledger.jobs(10) if job.template == "slow")
        assert [each.job for each in await here.ledger.job_budgets(child.key)] == [child.key, started.key]
        await keep_history(here, started.workflow_id, "called")
        for job in (started.workflow_id, child.workflow_id):
            found = await here.client.get_workflow_handle(job).describe()
            said = {pair.key.name: pair.value for pair in found.typed_search_attributes}
            assert (said["Tenant"], said["JobPriority"], said["DeploymentId"]) == ("acme", 2, "colony-test")
        assert (said["JobKind"], said["AgentType"]) == ("slow", ["worker"])


@pytest.mark.parametrize("by_update", [True, False])
async def test_cancel_ends_the_whole_tree(colony: Opens, *, by_update: bool) -> None:
    texts = {"slow": SLOW, "caller": CALLER.replace("tasks: 10", "tasks: 100000")}
    async with colony(TYPES, templates(**texts)) as here:
        started = await start_job(here.client, "caller", {}, f"tree-{uuid.uuid4().hex}")
        progress = await until(here, started.workflow_id, lambda seen: seen.phase == "calling")
        child = progress.waiting_for.split()[1]
        await until(here, child, lambda seen: seen.batches > 0)
        if by_update:
            await update_job(here.client, started.workflow_id, "cancel")
        else:
            await cancel_job(here.client, started.workflow_id)
        with pytest.raises(Cancelled):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.CANCELLED
        assert (await here.ledger.job(child)).state is JobState.CANCELLED


async def test_templates_that_call_one_another_in_a_circle_are_refused(colony: Opens) -> None:
    circle = templates(
        ping=CALLER.replace("template: slow", "template: pong"), pong=CALLER.replace("template: slow", "template: ping")
    )
    async with colony(TYPES, circle) as here:
        started = await start_job(here.client, "ping", {})
        with pytest.raises(BadInput, match="ping -> pong -> ping"):
            await await_job(here.client, started.workflow_id, timeout=60)
