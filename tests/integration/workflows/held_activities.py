"""Holds activities of chosen jobs, before or after they did their work, so that something can happen meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from temporalio import activity, client, worker
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

Moment = Literal["before", "after"]
"""Before an activity does anything, or when all is done and nobody was told."""


class Place(NamedTuple):
    """Where a job is held."""

    activity: str
    moment: Moment


class HeldActivities(client.Interceptor, worker.Interceptor):
    """An interceptor for the client of the workers. What it holds hears no cancel: it goes on when it is let go."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        """Workflow id -> where it is held."""
        self.held: set[str] = set()
        """Workflow ids that are held, or were."""
        self.let_go: set[str] = set()
        self.ended: set[str] = set()
        """Workflow ids whose held activity has come to its end."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        return _Held(next, self)

    async def wait_in(self, place: Place) -> bool:
        """Wait here if this job is held here; whether it was."""
        name = activity.info().workflow_id or ""
        if self.places.get(name) != place or name in self.let_go:
            return False
        self.held.add(name)
        while name not in self.let_go:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue  # like a write that is on its way: too late to call it back
        return True


class _Held(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, holding: HeldActivities) -> None:
        super().__init__(inner)
        self._holding = holding

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 -- the SDK's name
        kind = activity.info().activity_type
        held = await self._holding.wait_in(Place(kind, "before"))
        try:
            result = await super().execute_activity(input)
            held |= await self._holding.wait_in(Place(kind, "after"))
            return result
        finally:
            if held:
                self._holding.ended.add(activity.info().workflow_id or "")
