"""The activities of the worker process: ledger, source and report. No Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from temporalio import activity

from colony.config.model import Config
from colony.contracts import JobState, StepLoad
from colony.errors import Permanent
from colony.ids import Id
from colony.jobs import NORMAL_PRIORITY, JobPlan
from colony.ledger.histories import HistoryLedger
from colony.ledger.llm import LlmLedger
from colony.ledger.port import FleetLedger, JobLedger
from colony.lifecycle import task_owner
from colony.messaging.port import Messenger
from colony.telemetry.context import kept_trace
from colony.telemetry.port import OFF, Tracer
from workflows import names
from workflows.attributes import attributes_of
from workflows.catalogue import actions_of, results_of
from workflows.contracts import (
    CancelJob,
    CloseJob,
    JobInput,
    OpenJob,
    ReadValues,
    ReportInput,
    ReportResult,
    StepRef,
    StepTally,
)
from workflows.given_rows import resolved_paths
from workflows.inline import INLINE, split_template
from workflows.inputs import parse_input
from workflows.job_events import JobEvents
from workflows.loading import load_tasks_of
from workflows.opening import (
    check_actions,
    check_agents,
    check_calls,
    check_depth,
    check_size,
    pin_source,
    plan_steps,
    template_named,
)
from workflows.policies import FIRST_BATCH, IO_SECONDS
from workflows.reporting import artifacts_of
from workflows.result_fields import check_fields
from workflows.retrying import RetryInput, carried, origin_of, retry_of
from workflows.templates import templates_of
from workflows.values import value_at

_BEAT_SECONDS = 2.0
_LOOKS = 10
_LOOK_SECONDS = 3.0
_NO_REQUEST: Mapping[str, Any] = {}


class WorkLedger(JobLedger, HistoryLedger, LlmLedger, Protocol):
    """What these activities need of the ledger: jobs, and who started whom."""


class IoActivities:
    """Activities on `colony-io`. They raise `ColonyError`s; `workflows.translate` makes them Temporal's."""

    def __init__(
        self,
        ledger: WorkLedger,
        config: Config,
        data_roots: Sequence[Path],
        messenger: Messenger | None = None,
        *,
        fleet: FleetLedger | None = None,
        dispatching: Callable[[], Awaitable[bool]] | None = None,
        attributes: Collection[str] = (),
        deployment: str = "",
        tracer: Tracer = OFF,
    ) -> None:
        """With `fleet`, a job whose steps need a type that has no agents is refused instead of waiting in silence.

        `dispatching` says whether a dispatcher lives now; without it, one that takes no work counts as dead.
        `attributes` are the search attributes the server knows: a job sets no other. `deployment` names this
        deployment in them.
        """
        self._actions = actions_of(config)
        self._results = results_of(config)
        self._types = frozenset(config.fleet.types)
        self._attributes = frozenset(attributes)
        self._deployment = deployment
        self._dispatching = dispatching
        self._ledger = ledger
        self._fleet = fleet
        self._templates = templates_of(config)
        self._roots = tuple(data_roots)
        self._events = JobEvents(ledger, messenger)
        self._tracer = tracer

    @property
    def activities(self) -> list[object]:
        """All of them, for a worker."""
        return [
            self.open_job,
            self.load_step,
            self.read_values,
            self.tally_step,
            self.report,
            self.cancel_job,
            self.close_job,
            self.dispatcher_lives,
        ]

    @activity.defn(name=names.OPEN_JOB)
    async def open_job(self, request: OpenJob) -> JobPlan:
        """Validate the input and write the job row. Raises `BadInput`, `NotFound`; a refused job has a row too."""
        async with _beating():
            try:
                plan = await self._opened(request)
            except Permanent as error:
                await self._note_refused(request, error)
                raise
            await self._events.opened(plan)
            return plan

    async def _opened(self, request: OpenJob) -> JobPlan:
        check_depth(request)
        retry = retry_of(request.input)
        if retry is not None:
            return await self._reopened(request, retry)
        text, templates = request.input, self._templates
        if request.template == INLINE and INLINE not in templates:
            template, text = split_template(text)
            templates = {**templates, Id(INLINE): template}
        name, template = template_named(request.template, templates)
        job, values = parse_input(text, template)
        values = await asyncio.to_thread(resolved_paths, values, template.inputs, self._roots)
        steps = plan_steps(job, template, values)
        check_calls(name, templates, steps)
        check_actions(steps, self._actions)
        check_fields(steps, self._results, templates)
        if self._fleet is not None:
            check_agents(steps, await self._fleet.agent_counts(), self._types)
        source = await asyncio.to_thread(pin_source, job, template, self._roots, values)
        check_size(request, name, steps, source)
        if request.parent is not None:
            await self._ledger.adopt_job(request.key, request.parent.key)
        if job.llm_tokens is not None:
            await self._ledger.set_job_budget(request.key, job.llm_tokens)
        asked = {**job.model_dump(mode="json", exclude_unset=True), **values}
        plan = await self._ledger.open_job(
            request.key, request.workflow_id, name, steps, source, asked, trace=self._trace()
        )
        return self._steered(plan, job, request)

    async def _reopened(self, request: OpenJob, asked: RetryInput) -> JobPlan:
        """A job that goes on with what another one left: its frozen steps and source, whatever is configured now."""
        view = await self._ledger.job(asked.retry.job)
        before = await self._ledger.plan(view.job)
        origin = origin_of(asked.retry, request.template, view, before)
        asked = carried(asked, await self._ledger.asked_of(view.job))
        check_actions(before.steps, self._actions)
        if self._fleet is not None:
            check_agents(before.steps, await self._fleet.agent_counts())
        if request.parent is not None:
            await self._ledger.adopt_job(request.key, request.parent.key)
        if asked.llm_tokens is not None:
            await self._ledger.set_job_budget(request.key, asked.llm_tokens)
        given = asked.model_dump(mode="json", exclude_unset=True)
        plan = await self._ledger.open_job(
            request.key,
            request.workflow_id,
            before.template,
            before.steps,
            before.source,
            given,
            origin,
            trace=self._trace(),
        )
        return self._steered(plan, asked, request)

    def _steered(self, plan: JobPlan, job: JobInput, request: OpenJob) -> JobPlan:
        """The plan with priority and tenant: of the input, else of the job that started this one."""
        above = request.parent
        priority = job.priority or (NORMAL_PRIORITY if above is None else above.priority)
        tenant = job.tenant or ("" if above is None else above.tenant)
        steered = plan.model_copy(update={"priority": priority, "tenant": tenant, "first_batch": FIRST_BATCH})
        return steered.model_copy(update={"attributes": attributes_of(steered, self._attributes, self._deployment)})

    def _trace(self) -> str:
        """Id of the trace of the job, where one is kept."""
        return kept_trace(self._tracer.current())

    async def _note_refused(self, request: OpenJob, error: Permanent) -> None:
        """A closed row without steps, so that people find the job where they look for jobs."""
        try:
            plan = await self._ledger.open_job(
                request.key, request.workflow_id, Id(request.template), (), None, _NO_REQUEST, trace=self._trace()
            )
            await self._ledger.close_job(plan.job, JobState.FAILED, str(error)[:1000])
            await self._events.closed(plan.job)
        except Permanent as unfit:  # such as a template whose name can be no id
            activity.logger.info("a refused job has no row: %s", unfit)

    @activity.defn(name=names.LOAD_STEP)
    async def load_step(self, request: StepRef) -> StepLoad:
        """Write the tasks of a step. Raises `BadInput` when the source has no usable row or has changed."""
        async with _beating():
            plan = await self._ledger.plan(request.job)
            return await load_tasks_of(self._ledger, plan, plan.steps[request.step], request.takes)

    @activity.defn(name=names.READ_VALUES)
    async def read_values(self, request: ReadValues) -> dict[str, Any]:
        """Small values in results of earlier steps. Raises `BadInput` for what is no one small value."""
        async with _beating():
            plan = await self._ledger.plan(request.job)
            return {name: await value_at(self._ledger, plan, where) for name, where in request.values.items()}

    @activity.defn(name=names.TALLY_STEP)
    async def tally_step(self, request: StepRef) -> StepTally:
        """Count a step in the ledger."""
        async with _beating():
            tasks = await self._ledger.task_count(request.job, request.step) or 0
            ok, failed, transient, errors = await self._ledger.step_counts(request.job, request.step)
        return StepTally(tasks=tasks, ok=ok, failed=failed, transient=transient, errors=errors)

    @activity.defn(name=names.REPORT)
    async def report(self, request: ReportInput) -> ReportResult:
        """Render the artifacts and keep them, all at once: none of a job that was closed meanwhile."""
        async with _beating():
            plan = await self._ledger.plan(request.job)
            artifacts = await artifacts_of(self._ledger, plan, request)
            if not await self._ledger.put_artifacts(request.job, artifacts):
                activity.logger.info("job %d is closed: no report is kept", request.job)
                return ReportResult(artifacts=())
        return ReportResult(artifacts=tuple(artifact.name for artifact in artifacts))

    @activity.defn(name=names.CANCEL_JOB)
    async def cancel_job(self, request: CancelJob) -> None:
        """Mark the job as to be cancelled and tell the hosts. The mark is the truth, the event only makes it quick."""
        async with _beating():
            await self._ledger.request_cancel(request.job)
            await self._events.cancelling(request.job, request.key)

    @activity.defn(name=names.CLOSE_JOB)
    async def close_job(self, request: CloseJob) -> None:
        """Close the job; once closed it stays as it is."""
        async with _beating():
            await self._ledger.close_job(request.job, request.state, request.reason)
            await self._events.closed(request.job)

    @activity.defn(name=names.DISPATCHER_LIVES)
    async def dispatcher_lives(self) -> bool:
        """Whether a dispatcher lives; looks for a while before it says no, since one may just be starting again."""
        if self._dispatching is None:
            return False
        async with _beating():
            for _ in range(_LOOKS):
                if await self._dispatching():
                    return True
                await asyncio.sleep(_LOOK_SECONDS)
        return False


@asynccontextmanager
async def _beating() -> AsyncGenerator[None]:
    """Heartbeat while the body runs, so that the death of this process is seen within seconds.

    It proves that the loop turns, not that the body gets on: that is bounded by the deadline here.
    """
    async with task_owner() as tasks, asyncio.timeout(IO_SECONDS):
        tasks.start(_beat(), name="heartbeat")
        yield


async def _beat() -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        activity.heartbeat()
