"""Schedules in memory: the twin of `workflows.schedules.TemporalSchedules`. No clock: jobs start by `trigger` alone."""

from __future__ import annotations

from typing import Any

from colony.errors import AlreadyExists, Unavailable
from workflows.schedules import ScheduleView, Timing, check_name, not_found


class MemorySchedules:
    """See `Schedules`. Set `available` to False to play an outage."""

    def __init__(self) -> None:
        self.available = True
        self.started: list[tuple[str, dict[str, Any]]] = []
        """Template and input of each job that was started."""
        self._kept: dict[str, tuple[ScheduleView, dict[str, Any]]] = {}

    async def create(self, name: str, timing: Timing, given: dict[str, Any]) -> None:
        """See `Schedules`."""
        check_name(name)
        self._reach()
        if name in self._kept:
            raise AlreadyExists(f"There is a schedule {name!r} already.")
        self._kept[name] = (ScheduleView(name=name, timing=timing, started=0, skipped=0), given)

    async def list(self, limit: int = 200, *, after: str = "") -> list[ScheduleView]:
        """See `Schedules`."""
        self._reach()
        return [self._kept[name][0] for name in sorted(self._kept) if name > after][:limit]

    async def show(self, name: str) -> ScheduleView:
        """See `Schedules`."""
        self._reach()
        if name not in self._kept:
            raise not_found(name)
        return self._kept[name][0]

    async def pause(self, name: str, note: str = "") -> None:
        """See `Schedules`."""
        await self._change(name, paused=True, note=note)

    async def resume(self, name: str, note: str = "") -> None:
        """See `Schedules`."""
        await self._change(name, paused=False, note=note)

    async def trigger(self, name: str) -> None:
        """See `Schedules`."""
        view = await self.show(name)
        number = (view.started or 0) + 1
        if view.timing is not None:
            self.started.append((view.timing.template, self._kept[name][1]))
        await self._change(name, started=number, recent=(*view.recent, f"{name}-{number}"))

    async def delete(self, name: str) -> None:
        """See `Schedules`."""
        await self.show(name)
        del self._kept[name]

    async def _change(self, name: str, **fields: Any) -> None:
        view = await self.show(name)
        self._kept[name] = (view.model_copy(update=fields), self._kept[name][1])

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("The workflow engine does not answer.")
