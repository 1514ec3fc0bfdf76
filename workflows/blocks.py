"""Building blocks for workflows written as code: the same steps as in a template, as awaitable Python.

    class Opinions(CodedJob):
        @workflow.run
        async def run(self, given: Any = None) -> dict[str, Any]:
            self.begin_main(given)
            rows = [{"text": text} for text in as_object(given).get("texts", [])]
            judged = await fan_out(rows, agent="analysis", action="sentiment")
            await self.approve("Publish?", timeout=3600, default="approve")
            return {"ok": judged.ok}

What agents do runs as a job of its own, started by this workflow: rows and results stay in the ledger, pause, cancel,
priority and tenant reach it, and `colony jobs` shows it. This module is for workflow code: it decides and does no I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Literal, cast

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from colony.contracts import Frozen
    from colony.errors import BadInput, Cancelled, Permanent, Rejected
    from colony.jobs import NORMAL_PRIORITY
    from workflows import names
    from workflows.boundary import parent_of
    from workflows.contracts import Decision, JobInput, JobResult, ParentNote, PendingApproval, ReadValues, ValueAt
    from workflows.control_steps import PARENT_MEMO, followed
    from workflows.inline import INLINE
    from workflows.policies import io_options, priority_of
    from workflows.steered import Steered
    from workflows.steering import Steering

_FOLLOWED: Final = "flows hear what their job is told"
_BY_SERVER: Final = "a job in code is cancelled by the server"

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


_CANCEL_SECONDS: Final = 60.0


class CodedJob(Steered):
    """Base of a workflow in code: takes the signals and updates of every job, and can ask a person."""

    def __init__(self) -> None:
        super().__init__()
        self.tenant = ""
        """For whom it runs; what its agents do counts as theirs."""
        self._cancelling: asyncio.Task[None] | None = None

    def begin_main(self, given: Any = None) -> None:
        """Call first in `run`, with its input: `priority` and `tenant` in it count as for any job. Raises `BadInput`.

        Without them, those of the job that started this one count, or what the workflow itself was started with.
        """
        info = workflow.info()
        above = _parent(info)
        asked = _asked(given)
        started = info.priority.priority_key or self.steering.given
        self.steering.given = asked.priority or (started if above is None else above.priority)
        self.tenant = asked.tenant or ((info.priority.fairness_key or "") if above is None else above.tenant)
        super().begin_main()

    def _stop_main(self) -> None:
        if self._main is None or not workflow.patched(_BY_SERVER):
            super()._stop_main()
        elif self._cancelling is None:
            self._cancelling = asyncio.create_task(self._ask_server(), name="cancel by the server")

    async def _ask_server(self) -> None:
        """Only what the server cancels ends as cancelled; where it cannot be asked, the job ends as failed."""
        try:
            await workflow.execute_activity(names.CANCEL_WORKFLOW, **io_options(_CANCEL_SECONDS))
        except FailureError:
            super()._stop_main()

    @workflow.query(name="progress")
    def progress(self) -> dict[str, Any]:
        """What it was told and what it waits for."""
        pending, info = self.steering.pending, workflow.info()
        return {
            "template": info.workflow_type,
            "key": info.first_execution_run_id,
            "phase": "running" if pending is None else "approving",
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


def _asked(given: Any) -> JobInput:
    fields = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    try:
        return JobInput.model_validate({name: fields[name] for name in ("priority", "tenant") if name in fields})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(f"The input field {first['loc'][0]!r} is wrong: {first['msg'][:200]}.") from None


def _parent(info: workflow.Info) -> ParentNote | None:
    """What the job that started this one handed over; only a parent is believed."""
    return None if info.parent is None else parent_of(workflow.memo_value(PARENT_MEMO, None))


async def _run_job(given: dict[str, Any]) -> JobResult:
    info = workflow.info()
    above = _parent(info)
    instance: object = workflow.instance()
    steering = instance.steering if isinstance(instance, Steered) else Steering()
    if isinstance(instance, Steered) and steering.cancelled:
        await workflow.wait_condition(lambda: instance.stopping)
        raise Cancelled("The job was cancelled.")
    tenant = instance.tenant if isinstance(instance, CodedJob) else ""
    note = ParentNote(
        key=info.first_execution_run_id,
        depth=1 + (0 if above is None else above.depth),
        priority=steering.priority,
        tenant=tenant,
    )
    handle = await workflow.start_child_workflow(
        INLINE,
        given,
        id=f"{info.workflow_id[:120]}.{workflow.uuid4().hex[:12]}",
        result_type=JobResult,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        memo={PARENT_MEMO: note},
        priority=priority_of(note.priority, tenant),
    )
    return await followed(handle, steering, note.priority, lambda: workflow.patched(_FOLLOWED))


async def _value(job: int, step: int) -> Any:
    instance: object = workflow.instance()
    priority = instance.steering.priority if isinstance(instance, Steered) else NORMAL_PRIORITY
    tenant = instance.tenant if isinstance(instance, CodedJob) else ""
    request = ReadValues(job=job, values={"value": ValueAt(step=step)})
    options = io_options(priority=priority_of(priority, tenant))
    found = await workflow.execute_activity(names.READ_VALUES, request, result_type=dict[str, Any], **options)
    if "value" not in found:
        raise Permanent("The result could not be read.")
    return found["value"]
