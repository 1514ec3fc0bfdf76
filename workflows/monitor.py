"""The workflow `website_monitor`: one long-lived job that watches sites; decides when to look, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from colony.contracts import JobState
    from colony.errors import BadInput, Cancelled, ColonyError, NotFound
    from colony.jobs import JobPlan
    from workflows import monitor_contracts as contracts
    from workflows import names
    from workflows.contracts import CancelJob, CloseJob, JobResult, Progress, Range
    from workflows.monitor_boundary import input_text, resumed_of
    from workflows.monitor_contracts import (
        CHECK_STEP,
        ChangeSites,
        LaneRange,
        MonitorOpened,
        MonitorProgress,
        MonitorResume,
        MonitorTick,
        NoticesOf,
        OpenMonitor,
        ReportMonitor,
        SitesChanged,
        TickResult,
    )
    from workflows.monitor_daily import Daily
    from workflows.monitor_lanes import Lanes
    from workflows.monitor_notices import Publisher, Teller, Telling
    from workflows.monitor_patience import SHORT_SECONDS, Patience, patient_options
    from workflows.monitor_steered import SteeredMonitor
    from workflows.monitoring import DAY, wake_in
    from workflows.policies import io_options, should_continue_as_new
    from workflows.translate import final, to_colony_error
    from workflows.unhindered import unhindered

_MORE_EVENTS = 1_000
"""History beyond the usual bound that is borne while checks are under way."""
_BLOCKED_SECONDS = 2.0

_APART = "events-apart"
"""Histories of earlier builds, in which one activity told bus and webhook, replay as they were."""


@workflow.defn(name=contracts.TEMPLATE, failure_exception_types=[ColonyError, ValidationError])
class WebsiteMonitor(SteeredMonitor):
    """Watches sites until it is cancelled. Its sites, their states and their history are in the ledger."""

    def __init__(self) -> None:
        super().__init__()
        info = workflow.info()
        self._key = info.run_id if info.continued_run_id else info.first_execution_run_id
        self._job: int | None = None
        self._gap = 1.0
        self._tick = 0
        self._daily = Daily(0)
        self._lanes: Lanes | None = None
        self._telling: Telling | None = None
        self._patience = Patience()
        self._heard: int | None = 0
        self._known = 0
        self._finished: tuple[Range, ...] = ()
        self._lock = asyncio.Lock()
        self._woken = False
        self._paused = 0
        self._sites = 0
        self._notices = 0
        self._phase = "opening"

    @workflow.query(name="progress")
    def progress(self) -> Progress:
        """Where the job stands, as every job says it."""
        return Progress.model_validate(
            {
                "template": contracts.TEMPLATE,
                "key": self._key,
                "job": self._job,
                "phase": self._phase,
                "step": CHECK_STEP.name,
                "steps": 1,
                "tasks": self._sites,
                "batches": 0 if self._lanes is None else len(self._lanes.ranges),
                "waiting_for": self._trouble(),
                **self.steering.progress(),
                "paused": 0 < self._sites == self._paused,
            }
        )

    @workflow.query(name="monitor")
    def monitor(self) -> MonitorProgress:
        """Where the monitor stands."""
        return MonitorProgress(
            job=self._job,
            sites=self._sites,
            paused=self._paused,
            rounds=self._tick,
            checking=0 if self._lanes is None else sum(part.size for part in self._lanes.ranges),
            untold=self._notices,
            trouble=self._trouble(),
            gap=self._gap,
        )

    @workflow.update(name="change_sites")
    async def change_sites(self, change: dict[str, Any]) -> SitesChanged:
        """Add, change, remove, pause or wake sites: see `SiteChange`. Fails with a typed error, changing nothing."""
        return await self.change(change)

    @workflow.signal(name=names.VERSIONS_CHANGED)
    def versions_changed(self) -> None:
        """Look up: another version of the workers may be current."""
        self._woken = True

    async def change(self, change: dict[str, Any]) -> SitesChanged:
        """See `SteeredMonitor`."""
        await workflow.wait_condition(lambda: self._job is not None)
        async with self._lock:
            request = ChangeSites(job=self._opened_job(), change=change, now=_now())
            try:
                done = await workflow.execute_activity(
                    contracts.CHANGE_SITES, request, result_type=SitesChanged, **io_options(SHORT_SECONDS)
                )
            except ActivityError as error:
                raise final(to_colony_error(error)) from None
        self._gap, self._sites, self._woken = done.gap, done.sites, True
        return done

    @workflow.update(name="report")
    async def report(self, hours: float = 24.0) -> list[str]:
        """Write a report over the last hours now; the names of its artifacts."""
        if not 0 < hours <= 24 * 31:
            raise final(BadInput("A report covers more than 0 and at most 744 hours."))
        await workflow.wait_condition(lambda: self._job is not None)
        request = ReportMonitor(job=self._opened_job(), since=_now() - hours * 3600, until=_now())
        try:
            return await workflow.execute_activity(
                contracts.REPORT_MONITOR, request, result_type=list[str], **io_options(SHORT_SECONDS)
            )
        except ActivityError as error:
            raise final(to_colony_error(error)) from None

    @workflow.run
    async def run(self, *given: Any) -> JobResult:
        """Watch until cancelled; fails with a typed, non-retryable `ApplicationError`.

        Takes any arguments: a wrong number of them would else leave the workflow running for ever.
        """
        try:
            self.begin_main()
            plan, parts = await self._open(given)
            job = plan.job
            self._lanes = Lanes(plan, self.steering)
            teller = Teller(NoticesOf(job=job, key=self._key, workflow_id=workflow.info().workflow_id))
            publisher = Publisher(job, self._key, self._heard, self._known) if workflow.patched(_APART) else None
            self._telling = Telling(teller, publisher)
            for part in parts:
                self._lanes.start(part)
            self._job, self._phase = job, "running"
            await self._watch(job, self._lanes, self._telling)
        except (ColonyError, FailureError, asyncio.CancelledError) as error:
            await self._fail(error)

    async def _open(self, given: tuple[Any, ...]) -> tuple[JobPlan, tuple[LaneRange, ...]]:
        """The job, and the checks that the run before left under way."""
        info = workflow.info()
        resumed = resumed_of(given) if info.continued_run_id else None
        if resumed is None:
            request = OpenMonitor(input=input_text(given), key=self._key, workflow_id=info.workflow_id, now=_now())
            opened = await self._patience.execute(contracts.OPEN_MONITOR, request, MonitorOpened)
            self._gap, self._sites = opened.gap, opened.sites
            self._daily = Daily(int(_now() // DAY) - 1)
            self.show_attributes(opened.attributes)
            return self.begin_job(self._key, opened), ()
        self._key, self._tick, self._gap = resumed.key, resumed.tick, resumed.gap
        self._finished, self._daily, self._sites = resumed.finished, Daily(resumed.reported_day), resumed.sites
        self._heard, self._known = resumed.heard, resumed.known
        return self.begin_job(self._key, resumed), resumed.lanes

    async def _watch(self, job: int, lanes: Lanes, telling: Telling) -> NoReturn:
        while True:
            try:
                last = await self._round(job, lanes)
            except ActivityError as error:
                await self._until_woken(self._patience.bear(error))
            else:
                self._patience.worked()
                telling.wake(last)
                await self._daily.write(job)
                await self._pause_between(last, lanes)
                self._finished = (*self._finished, *lanes.collect())
            if _is_full(busy=bool(lanes.ranges) or telling.busy):
                await workflow.wait_condition(workflow.all_handlers_finished)
                self._continue(job, lanes, telling)

    async def _round(self, job: int, lanes: Lanes) -> TickResult:
        """One round. After an error it may be in the ledger nevertheless: it is asked for again, as it was."""
        async with self._lock:
            self._woken = False
            request = MonitorTick(
                job=job, tick=self._tick + 1, now=_now(), gap=self._gap, finished=self._finished, free=lanes.free
            )
            last = await workflow.execute_activity(
                contracts.MONITOR_TICK, request, result_type=TickResult, **patient_options(self.turn)
            )
        self._tick, self._finished = request.tick, ()
        self._sites, self._paused, self._notices = last.sites, last.paused, last.notices
        for part in last.reply.lanes:
            lanes.start(part)
        return last

    async def _pause_between(self, last: TickResult, lanes: Lanes) -> None:
        """Until a site is due, checks have ended, or the sites were changed."""
        wait = wake_in(last.next_due, _now(), self._gap)
        if last.reply.blocked:
            wait = max(self._gap, _BLOCKED_SECONDS)
        midnight = self._daily.due_in(_now())
        timeout = max(self._gap, midnight if wait is None else min(wait, midnight))
        await self._until_woken(timeout, lanes)

    async def _until_woken(self, timeout: float, lanes: Lanes | None = None) -> None:
        """Until the sites were changed, checks of `lanes` have ended, or so many seconds are over."""
        ended = (lambda: False) if lanes is None else lanes.some_ended
        try:
            await workflow.wait_condition(lambda: self._woken or ended(), timeout=timedelta(seconds=timeout))
        except TimeoutError:
            return

    def _continue(self, job: int, lanes: Lanes, telling: Telling) -> NoReturn:
        if not self._patience.failing:  # a round that is asked for again must be as it was
            self._finished = (*self._finished, *lanes.collect())
        heard, known = telling.heard
        workflow.continue_as_new(
            MonitorResume(
                job=job,
                key=self._key,
                tick=self._tick,
                gap=self._gap,
                sites=self._sites,
                lanes=lanes.ranges,
                finished=self._finished,
                reported_day=self._daily.reported,
                heard=heard,
                known=known,
                **self.told,
            ),
            initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
        )

    def _trouble(self) -> str:
        """What is wrong, the worst first."""
        lanes = "" if self._lanes is None else self._lanes.trouble
        telling = "" if self._telling is None else self._telling.trouble
        return self._patience.trouble or lanes or telling or self._daily.trouble

    def _opened_job(self) -> int:
        if self._job is None:
            raise final(NotFound("The monitor is not open yet.", remedy="Try again in a moment."))
        return self._job

    async def _fail(self, error: BaseException) -> NoReturn:
        """Stop what still runs, close the job, and end the workflow as cancelled or failed."""
        cancelled = is_cancelled_exception(error)
        self.steering.ending = True
        cause = Cancelled("The job was cancelled.") if cancelled else to_colony_error(error)
        if self._job is not None:
            await unhindered(self._stop(self._job, cause), cut_before=False)
        if cancelled and not self.steering.cancelled:
            raise error
        raise final(cause) from None

    async def _stop(self, job: int, cause: ColonyError) -> None:
        self._phase = "closing"
        if self._lanes is not None and self._telling is not None:
            self._lanes.cancel()
            self._telling.cancel()
        await self._patience.execute(names.CANCEL_JOB, CancelJob(job=job, key=self._key), type(None))
        state = JobState.CANCELLED if isinstance(cause, Cancelled) else JobState.FAILED
        request = CloseJob(job=job, state=state, reason=str(cause)[:1000])
        await self._patience.execute(names.CLOSE_JOB, request, type(None))
        self._phase = "closed"


def _is_full(*, busy: bool) -> bool:
    """Whether to go on in a fresh history, rather when nothing is under way: it is long, or there is a new version."""
    info = workflow.info()
    if info.is_target_worker_deployment_version_changed() and not busy:
        return True
    events = info.get_current_history_length() - (_MORE_EVENTS if busy else 0)
    return should_continue_as_new(events, info.is_continue_as_new_suggested())


def _now() -> float:
    return workflow.now().timestamp()
