"""Building blocks for workflows written as code: the same steps as in a template, as awaitable Python.

    class Opinions(CodedJob):
        @workflow.run
        async def run(self, given: Any = None) -> dict[str, Any]:
            self.begin_main()
            rows = [{"text": text} for text in as_object(given).get("texts", [])]
            judged = await fan_out(rows, agent="analysis", action="sentiment")
            await self.approve("Publish?", timeout=3600, default="approve")
            return {"ok": judged.ok}

What agents do runs as a job of its own, started by this workflow: rows and results stay in the ledger, cancel and
priority reach it, and `colony jobs` shows it. This module is for workflow code: it decides and does no I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, cast

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from colony.contracts import Frozen
    from colony.errors import BadInput, Cancelled, Permanent, Rejected
    from workflows import names
    from workflows.boundary import parent_of
    from workflows.contracts import Decision, JobResult, ParentNote, PendingApproval, ReadValues, ValueAt
    from workflows.control_steps import PARENT_MEMO
    from workflows.inline import INLINE
    from workflows.policies import io_options, priority_of
    from workflows.steered import Steered

Rows = str | int | Sequence[Mapping[str, Any]]
"""A file below a data root, a number of generated rows, or the rows themselves (at most 60 KiB in all)."""


def as_object(given: Any) -> dict[str, Any]:
    """The input of a job, a JSON object; nothing is an empty one. Raises `BadInput`.

    Give `run` a parameter of type `Any` and check it with this: what the SDK itself cannot decode leaves a workflow
    hanging, and an error that is none of `colony.errors` does too.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadInput("The input of a job is one JSON object.")
    return cast("dict[str, Any]", given)


class Finished(Frozen):
    """What came of a flow."""

    job: int
    """Number of its job: `colony job N`."""
    workflow_id: str
    tasks: int
    """Of its last step, as are `ok` and `failed`."""
    ok: int
    failed: int
    value: Any = None
    """The one result of the last step, if there is just one and it has at most 4 KiB."""


class Flow:
    """Steps over rows, to be awaited: they run as one job. Made by `fan_out`, made longer by `then` and `reduce`."""

    def __init__(self, rows: Rows, steps: tuple[dict[str, Any], ...]) -> None:
        self._rows = rows
        self._steps = steps

    def longer(self, step: dict[str, Any]) -> Flow:
        """The same flow with one more step over its last one."""
        name = f"{step['action']}-{len(self._steps) + 1}"
        over = self._steps[-1]["name"] if self._steps else "load"
        return Flow(self._rows, (*self._steps, {"name": name, "over": over, **step}))

    def __await__(self) -> Generator[Any, None, Finished]:
        """Run it. Raises what its job failed with."""
        return self._run().__await__()

    async def _run(self) -> Finished:
        load: dict[str, Any] = {"name": "load", "kind": "load"}
        given: dict[str, Any] = {"template": {"steps": [load, *self._steps]}}
        if isinstance(self._rows, str):
            given["source"] = self._rows
        elif isinstance(self._rows, int):
            given["tasks"] = self._rows
        else:
            load["rows"] = [dict(row) for row in self._rows]
        result = await _run_job(given)
        last = result.steps[-1]
        value = None
        if last.tasks == 1 and last.ok == 1:
            value = await _value(result.job, last.number)
        return Finished(
            job=result.job,
            workflow_id=result.workflow_id,
            tasks=last.tasks,
            ok=last.ok,
            failed=last.failed,
            value=value,
        )


def fan_out(rows: Rows, *, agent: str, action: str, parameters: Mapping[str, Any] | None = None, **policy: Any) -> Flow:
    """One task for each row. `policy` as of a template's step: `attempts`, `task_seconds`, `error_budget` ..."""
    return Flow(rows, ()).longer(_step("map", agent, action, parameters, policy))


def then(flow: Flow, *, agent: str, action: str, parameters: Mapping[str, Any] | None = None, **policy: Any) -> Flow:
    """One task for each good outcome of the flow so far."""
    return flow.longer(_step("map", agent, action, parameters, policy))


def reduce(flow: Flow, *, agent: str, action: str, parameters: Mapping[str, Any] | None = None, **policy: Any) -> Flow:
    """One task for each `group` outcomes of the flow so far (all of them, unless said otherwise)."""
    return flow.longer(_step("reduce", agent, action, parameters, {"group": 100_000, **policy}))


async def ask_agent(
    agent: str, action: str, payload: Mapping[str, Any], *, parameters: Mapping[str, Any] | None = None, **policy: Any
) -> Any:
    """What one agent makes of one payload. Raises `Permanent` when it fails."""
    settings: dict[str, Any] = {"error_budget": 0.0, **policy}
    return (await fan_out([payload], agent=agent, action=action, parameters=parameters, **settings)).value


async def wait(seconds: float) -> None:
    """Let so many seconds pass; survives restarts."""
    await asyncio.sleep(seconds)


class CodedJob(Steered):
    """Base of a workflow in code: takes the signals and updates of every job, and can ask a person."""

    @workflow.query(name="progress")
    def progress(self) -> dict[str, Any]:
        """What it was told and what it waits for."""
        pending = self.steering.pending
        return {
            "paused": self.steering.paused,
            "priority": self.steering.priority,
            "approvals": [] if pending is None else [pending.model_dump(mode="json")],
            "decisions": [decision.model_dump(mode="json") for decision in self.steering.decisions],
            "refused": self.steering.refused,
        }

    async def unpaused(self) -> None:
        """Wait while the job is paused: call it between steps."""
        await workflow.wait_condition(lambda: not self.steering.paused)

    async def approve(
        self,
        prompt: str,
        *,
        name: str = "approve",
        timeout: float = 86_400.0,
        default: Literal["approve", "reject"] = "reject",
        shown: Any = None,
    ) -> Decision:
        """Wait until a person approves, by the update or signal `approve`; after `timeout` seconds take `default`.

        Raises `Rejected`, and `BadInput` for a name that was decided before.
        """
        if self.steering.decision(name) is not None:
            raise BadInput(f"The approval {name!r} is decided already.", remedy="Give each approval a name of its own.")
        now = workflow.now().timestamp()
        self.steering.pending = PendingApproval(
            step=name, prompt=prompt, shown=shown, since=now, until=now + timeout, default=default
        )
        try:
            await workflow.wait_condition(lambda: self.steering.decision(name) is not None, timeout=timeout)
        except TimeoutError:
            self.steering.time_out(workflow.now().timestamp())
        finally:
            self.steering.pending = None
        decision = self.steering.decision(name)
        if decision is None or not decision.approved:
            said = f": {decision.comment}" if decision is not None and decision.comment else ""
            raise Rejected(f"{prompt} Rejected{said}.")
        return decision


def _step(
    kind: str, agent: str, action: str, parameters: Mapping[str, Any] | None, policy: Mapping[str, Any]
) -> dict[str, Any]:
    return {"kind": kind, "agent": agent, "action": action, "parameters": dict(parameters or {}), **policy}


async def _run_job(given: dict[str, Any]) -> JobResult:
    info = workflow.info()
    above = None if info.parent is None else parent_of(workflow.memo_value(PARENT_MEMO, None))
    instance: object = workflow.instance()
    priority = instance.steering.priority if isinstance(instance, Steered) else 3
    if isinstance(instance, Steered) and instance.steering.cancelled:
        raise Cancelled("The job was cancelled.")
    note = ParentNote(
        key=info.first_execution_run_id, depth=1 + (0 if above is None else above.depth), priority=priority
    )
    return await workflow.execute_child_workflow(
        INLINE,
        given,
        id=f"{info.workflow_id[:120]}.{workflow.uuid4().hex[:12]}",
        result_type=JobResult,
        parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        memo={PARENT_MEMO: note},
        priority=priority_of(priority, ""),
    )


async def _value(job: int, step: int) -> Any:
    request = ReadValues(job=job, values={"value": ValueAt(step=step)})
    found = await workflow.execute_activity(names.READ_VALUES, request, result_type=dict[str, Any], **io_options())
    if "value" not in found:
        raise Permanent("The result could not be read.")
    return found["value"]
