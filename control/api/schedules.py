"""Routes of schedules: jobs that start again and again."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from pydantic import Field

from control.api import paging
from control.api.models import Model, TemplateName
from control.api.parts import Parts
from control.api.problems import documented
from control.scheduling import create_schedule, timing_of
from workflows.schedules import NAME_PATTERN, Overlap, ScheduleView
from workflows.startable import startable

Name = Annotated[str, Path(min_length=1, max_length=200, description="Name of the schedule.")]


class CreateSchedule(Model):
    """Asks for jobs that start again and again: by `cron`, or `every` so many seconds."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    """Workflow ids of its jobs begin with it."""
    template: TemplateName
    """Name of the template."""
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What each job gets."""
    cron: str = Field(default="", max_length=200)
    """Minute, hour, day of month, month, day of week, such as `0 6 * * *`."""
    every: float | None = Field(default=None, ge=1, le=366 * 86_400)
    """Seconds from start to start."""
    timezone: str = Field(default="UTC", max_length=100)
    """Name of a time zone for `cron`, such as Europe/Berlin."""
    overlap: Overlap = "skip"
    """While the job before still runs: `skip` this one, `buffer` one, or `allow` both."""


class Note(Model):
    """Why; shown with the schedule."""

    note: str = Field(default="", max_length=500)


NO_NOTE: Final = Note()


class ScheduleList(Model):
    """Schedules by name."""

    items: tuple[ScheduleView, ...]
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""


class ScheduleRoutes:
    """See the paths below `/v1/schedules`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter(prefix="/v1/schedules", tags=["schedules"])
        one = "/{schedule}"
        changes: dict[str, Any] = {"methods": ["POST"], "responses": documented(400, 404, 413, 415)}
        router.add_api_route(
            "", self.create, methods=["POST"], status_code=201, responses=documented(400, 404, 409, 413, 415)
        )
        router.add_api_route("", self.list, methods=["GET"], responses=documented())
        router.add_api_route(one, self.show, methods=["GET"], responses=documented(404))
        router.add_api_route(
            one, self.delete, methods=["DELETE"], status_code=204, responses=documented(400, 404, 413, 415)
        )
        router.add_api_route(f"{one}/pause", self.pause, **changes)
        router.add_api_route(f"{one}/resume", self.resume, **changes)
        router.add_api_route(f"{one}/trigger", self.trigger, status_code=202, **changes)
        return router

    async def create(self, asked: CreateSchedule, response: Response) -> ScheduleView:
        """Start a job again and again."""
        known = startable(self._parts.config)
        timing = timing_of(asked.model_dump(exclude={"name", "input"}), known)
        view = await create_schedule(self._parts.schedules, asked.name, timing, asked.input, known)
        response.headers["Location"] = f"/v1/schedules/{asked.name}"
        return view

    async def list(self, limit: paging.Limit = 50, cursor: paging.NameCursor = "") -> ScheduleList:
        """Schedules by name. A new one may be missing for a moment."""
        found = await self._parts.schedules.list(limit + 1, after=cursor)
        items = tuple(found[:limit])
        return ScheduleList(items=items, next=items[-1].name if len(found) > limit else None)

    async def show(self, schedule: Name) -> ScheduleView:
        """One schedule: its next starts and last jobs."""
        return await self._parts.schedules.show(schedule)

    async def pause(self, schedule: Name, asked: Note = NO_NOTE) -> ScheduleView:
        """Start no more jobs until it is resumed; jobs that run go on."""
        await self._parts.schedules.pause(schedule, asked.note)
        return await self._parts.schedules.show(schedule)

    async def resume(self, schedule: Name, asked: Note = NO_NOTE) -> ScheduleView:
        """Start jobs again; times that passed meanwhile are not made up for."""
        await self._parts.schedules.resume(schedule, asked.note)
        return await self._parts.schedules.show(schedule)

    async def trigger(self, schedule: Name) -> ScheduleView:
        """Start a job now; its rule for jobs that still run holds."""
        await self._parts.schedules.trigger(schedule)
        return await self._parts.schedules.show(schedule)

    async def delete(self, schedule: Name) -> Response:
        """Forget it; jobs that run go on."""
        await self._parts.schedules.delete(schedule)
        return Response(status_code=204)
