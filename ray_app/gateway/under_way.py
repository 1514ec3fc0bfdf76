"""The requests of this process from their coming to their end, for whoever asks what one waits for. Pure."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ray_app.gateway.trail import Trail


class UnderWay:
    """Trails by request. The owner of the queues knows only those that ask it for a slot; these are all."""

    def __init__(self) -> None:
        self._trails: dict[str, Trail] = {}
        self._leaders: dict[bytes, str] = {}
        """Work that several may share -> the request that does it."""

    def begin(self, trail: Trail) -> None:
        """A request has come."""
        self._trails[trail.ask.request_id] = trail

    def end(self, trail: Trail) -> None:
        """It is over."""
        if self._trails.get(trail.ask.request_id) is trail:
            del self._trails[trail.ask.request_id]

    @contextmanager
    def leading(self, trail: Trail, key: bytes) -> Generator[None]:
        """For the length of the block this request does what others may join."""
        self._leaders[key] = trail.ask.request_id
        try:
            yield
        finally:
            if self._leaders.get(key) == trail.ask.request_id:
                del self._leaders[key]

    def why(self, request_id: str) -> dict[str, Any] | None:
        """What a request waits for, as far as it is known here; `waits_for` is empty where its owner knows better.

        None for one that is not under way here. Seconds throughout.
        """
        trail = self._trails.get(request_id)
        if trail is None:
            return None
        ask, stage = trail.ask, trail.stage
        found: dict[str, Any] = {
            "request_id": request_id,
            "agent": ask.caller.name,
            "priority": ask.priority,
            "gives_up_in": round(max(0.0, trail.left), 3),
            "state": "waiting",
            "waits_for": "",
            "since": round(ask.seconds - trail.left, 3),
            "freed_by": "its next step",
        }
        leader = self._leaders.get(trail.joins, request_id)
        if leader != request_id:
            shared = f"the end of {leader}, whose answer it shares"
            return {**found, "waits_for": f"shared with {leader}", "freed_by": shared}
        if stage is not None:
            since = round(trail.now - stage.since, 3)
            return {**found, "waits_for": stage.waits_for, "since": since, "freed_by": stage.freed_by}
        return found
