"""Jobs that start again and again, by Temporal Schedules: a port, its models, and the real adapter."""

from __future__ import annotations

import heapq
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Literal, Protocol, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleListActionStartWorkflow,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import Frozen
from colony.errors import AlreadyExists, BadInput, DeadlineExceeded, NotFound, NotPermitted, Unavailable
from workflows.policies import WORKFLOW_QUEUE

Overlap = Literal["skip", "buffer", "allow"]
"""When a job is due and the one before still runs: leave it out, start one as soon as that ends, or start it now."""

_RPC: Final = timedelta(seconds=10)
_MEMO: Final = "colony_schedule"
NAME_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
"""What can be the name of a schedule."""
_CRON_FIELDS: Final = range(5, 8)
_CATCH_UP: Final = timedelta(hours=1)
"""Times missed while the server was away are made up for when no longer ago."""

_OVERLAPS: Final[dict[Overlap, ScheduleOverlapPolicy]] = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer": ScheduleOverlapPolicy.BUFFER_ONE,
    "allow": ScheduleOverlapPolicy.ALLOW_ALL,
}


class Timing(Frozen):
    """When jobs of a schedule start: by a cron expression, or every so many seconds."""

    template: str = Field(min_length=1, max_length=200)
    cron: str = Field(default="", max_length=200)
    """Minute, hour, day of month, month, day of week; a field for seconds or one for years may be added."""
    every: float | None = Field(default=None, ge=1, le=366 * 86_400)
    """Seconds."""
    timezone: str = "UTC"
    """Name of a time zone for `cron`, such as Europe/Berlin."""
    overlap: Overlap = "skip"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.cron) == (self.every is not None):
            raise ValueError("give one of cron and every")
        if self.cron and not self.cron.startswith("@") and len(self.cron.split()) not in _CRON_FIELDS:
            raise ValueError(f"{self.cron!r} is no cron expression: it has 5 fields, such as 0 6 * * *")
        return self

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value[:60]!r} is no time zone") from None
        return value

    def spoken(self) -> str:
        """For people."""
        return f"every {self.every:g} s" if self.every is not None else f"{self.cron} {self.timezone}"


class ScheduleView(Frozen):
    """A schedule as people see it."""

    name: str
    timing: Timing | None
    """None for one that was not made by us."""
    paused: bool = False
    note: str = ""
    next: tuple[float, ...] = ()
    """Wall-clock seconds of the next starts."""
    recent: tuple[str, ...] = ()
    """Workflow ids of the last jobs, newest last."""
    started: int | None = None
    """Jobs in all; None in a list."""
    skipped: int | None = None
    """Starts left out since the job before still ran; None in a list."""


class Schedules(Protocol):
    """Starts jobs again and again. All raise `Unavailable`, `DeadlineExceeded`; those with a name `NotFound`."""

    async def create(self, name: str, timing: Timing, given: dict[str, Any]) -> None:
        """Start jobs by `timing`, each with `given`. Raises `AlreadyExists`; `BadInput` for a useless name or time."""
        ...

    async def list(self, limit: int = 200, *, after: str = "") -> list[ScheduleView]:
        """Schedules by name, at most `limit` of those after `after`. A new one may be missing for a moment."""
        ...

    async def show(self, name: str) -> ScheduleView:
        """One schedule."""
        ...

    async def pause(self, name: str, note: str = "") -> None:
        """Start no more jobs until `resume`."""
        ...

    async def resume(self, name: str, note: str = "") -> None:
        """Start jobs again; times that passed meanwhile are not made up for."""
        ...

    async def trigger(self, name: str) -> None:
        """Start a job now, also of a paused schedule; its rule for jobs that still run holds."""
        ...

    async def delete(self, name: str) -> None:
        """Forget the schedule; jobs that run go on."""
        ...


class TemporalSchedules:
    """See `Schedules`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, name: str, timing: Timing, given: dict[str, Any]) -> None:
        """See `Schedules`."""
        check_name(name)
        action: ScheduleActionStartWorkflow = ScheduleActionStartWorkflow(
            timing.template, given, id=name, task_queue=WORKFLOW_QUEUE
        )
        spec = ScheduleSpec(
            cron_expressions=[timing.cron] if timing.cron else [],
            intervals=[] if timing.every is None else [ScheduleIntervalSpec(every=timedelta(seconds=timing.every))],
            time_zone_name=timing.timezone,
        )
        policy = SchedulePolicy(overlap=_OVERLAPS[timing.overlap], catchup_window=_CATCH_UP)
        with _translated(name):
            await self._client.create_schedule(
                name,
                Schedule(action=action, spec=spec, policy=policy),
                memo={_MEMO: timing.model_dump(mode="json")},
                rpc_timeout=_RPC,
            )

    async def list(self, limit: int = 200, *, after: str = "") -> list[ScheduleView]:
        """See `Schedules`. The server has an order of its own: all are read, a thousand at a time."""
        with _translated(""):
            found = [each async for each in await self._client.list_schedules(rpc_timeout=_RPC) if each.id > after]
            return [await _listed(each) for each in heapq.nsmallest(limit, found, key=lambda each: each.id)]

    async def show(self, name: str) -> ScheduleView:
        """See `Schedules`."""
        with _translated(name):
            return await _shown(await self._client.get_schedule_handle(name).describe(rpc_timeout=_RPC))

    async def pause(self, name: str, note: str = "") -> None:
        """See `Schedules`."""
        with _translated(name):
            await self._client.get_schedule_handle(name).pause(note=note or None, rpc_timeout=_RPC)

    async def resume(self, name: str, note: str = "") -> None:
        """See `Schedules`."""
        with _translated(name):
            await self._client.get_schedule_handle(name).unpause(note=note or None, rpc_timeout=_RPC)

    async def trigger(self, name: str) -> None:
        """See `Schedules`."""
        with _translated(name):
            await self._client.get_schedule_handle(name).trigger(rpc_timeout=_RPC)

    async def delete(self, name: str) -> None:
        """See `Schedules`."""
        with _translated(name):
            await self._client.get_schedule_handle(name).delete(rpc_timeout=_RPC)


def check_name(name: str) -> None:
    """Raise `BadInput` for what can be no name: it is the first part of the workflow ids of its jobs."""
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise BadInput(
            f"{name[:60]!r} is no name of a schedule.", remedy="Use 1 to 100 letters, digits, `_`, `.` and `-`."
        )


def not_found(name: str) -> NotFound:
    """The error for a schedule there is not."""
    return NotFound(f"There is no schedule {name[:100]!r}.", remedy="`colony schedule list` lists them.")


async def _listed(each: ScheduleListDescription) -> ScheduleView:
    timing = _timing(await each.memo())
    schedule, info = each.schedule, each.info
    if timing is None and schedule is not None and isinstance(schedule.action, ScheduleListActionStartWorkflow):
        return ScheduleView(name=each.id, timing=None, note=f"starts {schedule.action.workflow}")
    return ScheduleView(
        name=each.id,
        timing=timing,
        paused=schedule is not None and schedule.state.paused,
        note="" if schedule is None else schedule.state.note or "",
        next=() if info is None else tuple(at.timestamp() for at in info.next_action_times),
        recent=() if info is None else _jobs([result.action for result in info.recent_actions]),
    )


async def _shown(found: ScheduleDescription) -> ScheduleView:
    state, info = found.schedule.state, found.info
    return ScheduleView(
        name=found.id,
        timing=_timing(await found.memo()),
        paused=state.paused,
        note=state.note or "",
        next=() if state.paused else tuple(at.timestamp() for at in info.next_action_times[:5]),
        recent=_jobs([result.action for result in info.recent_actions]),
        started=info.num_actions,
        skipped=info.num_actions_skipped_overlap,
    )


def _jobs(actions: list[Any]) -> tuple[str, ...]:
    return tuple(each.workflow_id for each in actions if isinstance(each, ScheduleActionExecutionStartWorkflow))


def _timing(memo: Any) -> Timing | None:
    note = memo.get(_MEMO)
    return None if note is None else Timing.model_validate(note)


@contextmanager
def _translated(name: str) -> Generator[None]:
    try:
        yield
    except ScheduleAlreadyRunningError:
        raise AlreadyExists(
            f"There is a schedule {name[:100]!r} already.", remedy=f"Remove it: colony schedule delete {name[:100]}."
        ) from None
    except RPCError as error:
        detail = error.message[:200]
        if error.status is RPCStatusCode.NOT_FOUND:
            raise not_found(name) from error
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise BadInput(f"Temporal refused the schedule: {detail}.") from error
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise NotPermitted(f"Temporal refused the request: {detail}.") from error
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise DeadlineExceeded(f"Temporal did not answer in time: {detail}.") from error
        raise Unavailable(f"Temporal cannot answer now: {detail}.") from error
    except RuntimeError as error:
        # What a client that connects later raises when its first connection fails.
        raise Unavailable(f"Temporal does not answer: {str(error)[:200]}.") from error
