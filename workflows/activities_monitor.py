"""The activities behind `website_monitor`: its sites, rounds and reports. Run on `colony-io`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from temporalio import activity

from colony.contracts import JobState
from colony.errors import BadInput, NotFound, Permanent
from colony.jobs import NORMAL_PRIORITY, JobPlan
from colony.ledger.port import Ledger
from colony.messaging.port import Messenger
from colony.sites import MAX_SITES, SiteMemory, SiteRow
from colony.telemetry.context import kept_trace
from colony.telemetry.port import OFF, Tracer
from workflows import monitor_contracts as contracts
from workflows.activities_notices import NoticeActivities, Poster
from workflows.attributes import attributes_of
from workflows.beating import beating
from workflows.job_events import JobEvents
from workflows.monitor_contracts import (
    CHECK_STEP,
    ChangeSites,
    MonitorInput,
    MonitorOpened,
    MonitorSettings,
    MonitorTick,
    OpenMonitor,
    ReportMonitor,
    SiteChange,
    SiteInput,
    SitesChanged,
    TickReply,
    TickResult,
)
from workflows.monitor_input import defaults_of, name_of, parse, parse_value, sites_of, specs_of
from workflows.monitor_reporting import monitor_artifacts
from workflows.monitor_rounds import named_sites, round_rows
from workflows.monitoring import DAY, first_due, gap_of
from workflows.opening import check_agents

KEEP_TASKS: Final = 5_000
"""Checks whose tasks and outcomes stay in the ledger; their history stays for longer, rolled up."""

KEEP_DAYS: Final = 31
"""Days that history, closed alerts and daily reports stay."""

_LONGEST: Final = 60.0
_TRIM_EVERY: Final = 100
_NOTHING: Mapping[str, Any] = {}


class MonitorActivities:
    """They raise `ColonyError`s; `workflows.translate` makes them Temporal's. Each may be repeated."""

    def __init__(
        self,
        ledger: Ledger,
        data_roots: Sequence[Path],
        *,
        messenger: Messenger | None = None,
        poster: Poster | None = None,
        check_fleet: bool = False,
        tracer: Tracer = OFF,
        attributes: Collection[str] = (),
        deployment: str = "",
    ) -> None:
        """Without `poster` no webhook is called; with `check_fleet` a monitor without agents is refused.

        `attributes` and `deployment` as in `IoActivities`.
        """
        self._attributes = frozenset(attributes)
        self._deployment = deployment
        self._ledger = ledger
        self._roots = tuple(data_roots)
        self._events = JobEvents(ledger, messenger)
        self._notices = NoticeActivities(ledger, messenger, poster)
        self._check_fleet = check_fleet
        self._tracer = tracer

    @property
    def activities(self) -> list[object]:
        """All of them, for a worker."""
        return [
            self.open_monitor,
            self.monitor_tick,
            self.change_sites,
            self.report_monitor,
            *self._notices.activities,
        ]

    @activity.defn(name=contracts.OPEN_MONITOR)
    async def open_monitor(self, request: OpenMonitor) -> MonitorOpened:
        """Validate the input, write the job and its sites. Raises `BadInput`; a refused monitor has a row too."""
        try:
            async with beating(_LONGEST):
                opened, plan = await self._opened(request)
        except Permanent as error:
            trace = kept_trace(self._tracer.current())
            plan = await self._ledger.open_job(
                request.key, request.workflow_id, contracts.TEMPLATE, (), None, _NOTHING, trace=trace
            )
            await self._ledger.close_job(plan.job, JobState.FAILED, str(error)[:1000])
            await self._events.closed(plan.job)
            raise
        await self._events.opened(plan)
        return opened

    async def _opened(self, request: OpenMonitor) -> tuple[MonitorOpened, JobPlan]:
        given = parse(MonitorInput, request.input)
        specs = await asyncio.to_thread(sites_of, given, self._roots)
        if self._check_fleet:
            check_agents([CHECK_STEP], await self._ledger.agent_counts())
        plan = await self._ledger.open_job(
            request.key,
            request.workflow_id,
            contracts.TEMPLATE,
            [CHECK_STEP],
            None,
            given.model_dump(mode="json", exclude_unset=True),
            trace=kept_trace(self._tracer.current()),
        )
        count = len(specs)
        sites = [
            SiteRow(spec, SiteMemory(), first_due(count, index, spec.interval, request.now))
            for index, spec in enumerate(specs)
        ]
        settings = MonitorSettings(webhook=given.webhook, defaults=defaults_of(given))
        await self._ledger.open_monitor(plan.job, secrets.token_hex(32), settings.model_dump_json().encode(), sites)
        priority = given.priority or NORMAL_PRIORITY
        steered = plan.model_copy(update={"priority": priority, "tenant": given.tenant})
        opened = MonitorOpened(
            job=plan.job,
            sites=count,
            gap=gap_of(min(spec.interval for spec in specs)),
            priority=priority,
            tenant=given.tenant,
            attributes=attributes_of(steered, self._attributes, self._deployment),
        )
        return opened, steered

    @activity.defn(name=contracts.MONITOR_TICK)
    async def monitor_tick(self, request: MonitorTick) -> TickResult:
        """Take in finished checks, decide which come next. The same round again gets the same answer."""
        async with beating(_LONGEST):
            return await self._ticked(request)

    async def _ticked(self, request: MonitorTick) -> TickResult:
        rows = await round_rows(self._ledger, request)
        reply = TickReply.model_validate_json(await self._ledger.save_tick(rows))
        if request.tick % _TRIM_EVERY == 0:
            before_seq = max(0, rows.next_seq - KEEP_TASKS)
            await self._ledger.trim_monitor(request.job, CHECK_STEP.number, before_seq, request.now - KEEP_DAYS * DAY)
        pulse = await self._ledger.monitor_pulse(request.job)
        return TickResult(
            reply=reply,
            sites=pulse.sites,
            paused=pulse.paused,
            next_due=pulse.next_due,
            notices=pulse.notices,
            last_notice=pulse.last_notice,
        )

    @activity.defn(name=contracts.CHANGE_SITES)
    async def change_sites(self, request: ChangeSites) -> SitesChanged:
        """Add, change, remove, pause and wake sites. Raises `BadInput` naming the field, before anything is changed."""
        async with beating(_LONGEST):
            return await self._changed(request)

    async def _changed(self, request: ChangeSites) -> SitesChanged:
        change = parse_value(SiteChange, request.change)
        job, ledger = request.job, self._ledger
        rows = await ledger.sites(job)
        settings = MonitorSettings.model_validate_json((await ledger.monitor(job)).settings)
        lists = {"remove": change.remove, "interval": tuple(change.interval)}
        lists |= {"pause": change.pause, "resume": change.resume}
        again = activity.info().attempt > 1
        named = {
            field: _all_known(rows, field, wanted, gone=again and field == "remove") for field, wanted in lists.items()
        }
        specs = {row.spec.site: row.spec for row in rows}
        known = {name_of(each.name) for each in change.add if isinstance(each, SiteInput) and each.name}
        # Due at the moment of this very change: an earlier attempt that nobody heard the end of put them there.
        mine = {row.spec.site for row in rows if again and row.due_at == request.now} - {*named["interval"]}
        added = specs_of(change.add, settings.defaults, taken=set(specs) - known - mine, where="add")
        for name, seconds in zip(named["interval"], change.interval.values(), strict=True):
            checked = parse_value(SiteInput, {"url": specs[name].url, "interval": seconds})
            added.append(specs[name].model_copy(update={"interval": checked.interval}))
        if len({*specs, *(spec.site for spec in added)} - set(named["remove"])) > MAX_SITES:
            raise BadInput(f"A monitor watches at most {MAX_SITES:,} sites.")
        new = await ledger.put_sites(job, added, request.now) if added else 0
        removed = await ledger.remove_sites(job, named["remove"], request.now) if change.remove else 0
        paused, resumed = await self._pauses(request, change, named)
        left = await ledger.sites(job)
        return SitesChanged(
            added=new,
            changed=len(added) - new,
            removed=removed,
            paused=paused,
            resumed=resumed,
            sites=len(left),
            gap=gap_of(min((row.spec.interval for row in left), default=60.0)),
        )

    async def _pauses(
        self, request: ChangeSites, change: SiteChange, named: Mapping[str, list[Any]]
    ) -> tuple[int, int]:
        job, now, paused, resumed = request.job, request.now, 0, 0
        if change.pause or change.pause_all:
            who = None if change.pause_all else named["pause"]
            paused = await self._ledger.pause_sites(job, who, True, now)
        if change.resume or change.resume_all:
            who = None if change.resume_all else named["resume"]
            resumed = await self._ledger.pause_sites(job, who, False, now)
        return paused, resumed

    @activity.defn(name=contracts.REPORT_MONITOR)
    async def report_monitor(self, request: ReportMonitor) -> list[str]:
        """Write the report over a stretch of time; the names of its artifacts, none of a job closed meanwhile."""
        async with beating(_LONGEST):
            artifacts = await monitor_artifacts(self._ledger, request)
            if not await self._ledger.put_artifacts(request.job, artifacts):
                activity.logger.info("job %d is closed: no report is kept", request.job)
                return []
        return [artifact.name for artifact in artifacts]


def _all_known(rows: Sequence[SiteRow], field: str, wanted: Sequence[str], *, gone: bool = False) -> list[Any]:
    """The sites these words mean, all of them but those that an earlier attempt removed, if it may have."""
    found, unknown = named_sites(rows, wanted)
    if unknown and not gone:
        raise NotFound(
            f"The input field {field!r} names the site {unknown[0][:80]!r}, which is not watched.",
            remedy="`colony monitor ID` lists the sites.",
        )
    return found
