"""All batches a host is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Final

import structlog

from colony.clock import Clock
from colony.contracts import BatchProgress, BatchReport, BatchRequest
from colony.errors import BadInput, Cancelled, ColonyError, LostShard
from colony.jobs import JobPlan, StepPlan
from colony.ledger.port import Ledger
from ray_app.admission import Admission
from ray_app.batch_run import BatchRun
from ray_app.crew import Crew
from ray_app.questions import KeyDepth
from ray_app.traced import HostTracing, TracedTasks, batch_facts, report_facts

_log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 20.0
_CANCEL_POLL_SECONDS: Final = 1.0
_PLANS_KEPT: Final = 256


class Batches:
    """Runs batches; the same batch asked for twice runs once, and both askers get its report."""

    def __init__(
        self, ledger: Ledger, crew: Crew, admission: Admission, clock: Clock, tracing: HostTracing | None = None
    ) -> None:
        self._tracing = tracing
        self._ledger = ledger
        self._crew = crew
        self._admission = admission
        self._clock = clock
        self._plans: dict[int, JobPlan] = {}
        self._runs: dict[BatchRequest, tuple[BatchRun, asyncio.Task[BatchReport]]] = {}
        self._draining = False

    def waiting(self) -> int:
        """Tasks taken on that do not run yet."""
        return sum(run.waiting() for run, _ in self._runs.values())

    def depths(self) -> tuple[KeyDepth, ...]:
        """The same by priority and tenant, ordered."""
        found: dict[tuple[int, str], list[int]] = {}
        for request, (run, _) in self._runs.items():
            if tasks := run.waiting():
                found.setdefault((request.priority, request.tenant), []).append(tasks)
        return tuple(
            KeyDepth(priority=priority, tenant=tenant, tasks=sum(tasks), batches=len(tasks))
            for (priority, tenant), tasks in sorted(found.items())
        )

    def in_flight(self) -> int:
        """Batches under way."""
        return len(self._runs)

    async def run(self, request: BatchRequest, trace: str = "") -> BatchReport:
        """Run a batch, or join it if it is under way. Work goes on if the asker goes away.

        `trace` is the `traceparent` of who asks.

        Raises `Overloaded`, `NotFound`, `BadInput`, `Unavailable`.
        """
        known = self._runs.get(request)
        if known is None:
            if self._draining:
                return BatchReport(left=request.end - request.first, left_reason=LostShard.__name__)
            self._admission.check(self.waiting())
            run = BatchRun(request, self._crew, self._clock)
            name = f"batch {request.job}/{request.step}/{request.first}"
            task = asyncio.create_task(self._traced(run, trace), name=name)
            known = self._runs[request] = (run, task)
            task.add_done_callback(self._forgetter(request))
        task = known[1]
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            return BatchReport(left=request.end - request.first, left_reason=LostShard.__name__)

    def progress(self, request: BatchRequest) -> BatchProgress | None:
        """How far a batch is, or None if it is not under way here."""
        known = self._runs.get(request)
        if known is not None:
            return known[0].progress()
        return None

    def cancel(self, key: str) -> None:
        """Stop the batches of a job quickly; what is done is still committed."""
        for run, _ in self._runs.values():
            if run.request.key == key:
                run.cancel()

    def halt(self) -> None:
        """Take no more work: what runs may end, what waits is left to other hosts."""
        self._draining = True
        for run, _ in self._runs.values():
            run.halt(LostShard.__name__)

    async def finish(self, seconds: float) -> None:
        """Wait for what runs, at most `seconds`; then interrupt it, so that it is left to other hosts."""
        tasks = [task for _, task in self._runs.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        if late:
            for run, _ in list(self._runs.values()):
                run.interrupt()
            await asyncio.wait(late, timeout=seconds)

    async def aclose(self) -> None:
        """Stop everything at once, committing nothing more."""
        self._draining = True
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def watch_cancels(self) -> None:
        """Ask the ledger about once a second whether jobs under way are to be cancelled; until cancelled itself."""
        while True:
            await self._clock.sleep(_CANCEL_POLL_SECONDS)
            jobs = {run.request.job: run.request.key for run, _ in self._runs.values()}
            for job, key in jobs.items():
                try:
                    async with asyncio.timeout(_CALL_SECONDS):
                        if await self._ledger.cancel_requested(job):
                            self.cancel(key)
                except (ColonyError, TimeoutError) as error:
                    _log.warning("could not read the cancel mark", job=job, error=str(error))

    def _forgetter(self, request: BatchRequest) -> Callable[[asyncio.Task[BatchReport]], None]:
        def forget(task: asyncio.Task[BatchReport]) -> None:
            self._runs.pop(request, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.warning("batch failed", job=request.job, step=request.step, error=repr(error))

        return forget

    async def _traced(self, run: BatchRun, trace: str) -> BatchReport:
        tracing = self._tracing
        if not trace or tracing is None:
            return await self._execute(run)
        with tracing.tracer.span(
            "host batch", parent=trace, kind="server", facts=batch_facts(tracing.host, run.request)
        ) as span:
            run.performer = TracedTasks(run.performer, tracing.tracer, span.trace, tracing.task_spans)
            report = await self._execute(run)
            span.note(report_facts(report))
            return report

    async def _execute(self, run: BatchRun) -> BatchReport:
        request = run.request
        async with asyncio.timeout(_CALL_SECONDS):
            step = await self._step(request)
        # An earlier attempt with another range may have some of these tasks in flight: its outcomes come first.
        earlier = takewhile(lambda entry: entry[0] is not run, list(self._runs.values()))
        others = [task for other, task in earlier if _overlap(other.request, request)]
        if others:
            await asyncio.wait(others)
        async with asyncio.timeout(_CALL_SECONDS):
            if await self._ledger.cancel_requested(request.job):
                return BatchReport(left=request.end - request.first, left_reason=Cancelled.__name__, cancelled=True)
            rows = await self._ledger.open_tasks(request)
        return await run.run(step, rows)

    async def _step(self, request: BatchRequest) -> StepPlan:
        plan = self._plans.get(request.job)
        if plan is None:
            plan = await self._ledger.plan(request.job)
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.pop(next(iter(self._plans)))
            self._plans[request.job] = plan
        for step in plan.steps:
            if step.number == request.step:
                return step
        raise BadInput(f"Job {request.job} has no step {request.step}.")


def _overlap(one: BatchRequest, other: BatchRequest) -> bool:
    same = (one.job, one.step, one.generation) == (other.job, other.step, other.generation)
    return same and one.first < other.end and other.first < one.end
