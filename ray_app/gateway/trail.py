"""What one request leaves behind: times, tokens, where it went. Becomes its record."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from colony.clock import Clock
from ray_app.gateway.contracts import Ask, CallRecord, Ended, Grant


class Stage(NamedTuple):
    """What a request waits for."""

    waits_for: str
    """In a word."""
    freed_by: str
    since: float
    """Monotonic seconds."""


class Trail:
    """Filled in along the way of one request."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self.ask = ask
        self._clock = clock
        self._began = clock.monotonic()
        self._called = 0.0
        self._first = 0.0
        self._grant: Grant | None = None
        self._queued = 0.0
        self._prompt = self._completion = 0
        self.stage: Stage | None = None
        """What it waits for outside the queues."""
        self.joins = b""
        """Work that it may share with equal requests; empty for none."""
        self.cache = "miss"
        """What the cache had to do with the answer: `hit`, `shared` or `miss`."""

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    @contextmanager
    def doing(self, waits_for: str, freed_by: str) -> Generator[None]:
        """For the length of the block the request waits for this."""
        before, self.stage = self.stage, Stage(waits_for, freed_by, self.now)
        try:
            yield
        finally:
            self.stage = before

    @property
    def left(self) -> float:
        """Seconds until the caller gives up; negative when it has."""
        return self._began + self.ask.seconds - self._clock.monotonic()

    @property
    def model(self) -> str:
        """The model of the last call; empty before there is one."""
        return "" if self._grant is None else self._grant.target.model

    @property
    def backend(self) -> str:
        """The backend of the last call; empty where the answer is not that of a call of its own."""
        return "" if self._grant is None or self.cache != "miss" else self._grant.target.backend

    @property
    def called_seconds(self) -> float:
        """Seconds since the call under way began."""
        return self._clock.monotonic() - self._called

    def granted(self, grant: Grant) -> None:
        """A call begins now."""
        self._grant = grant
        self._queued += grant.queued
        self._called = self._clock.monotonic()
        self._first = 0.0

    def first_piece(self) -> None:
        """The first piece of the answer is there."""
        self._first = self.called_seconds

    def used(self, usage: dict[str, Any]) -> None:
        """What the backend counted."""
        self._prompt = int(usage.get("prompt_tokens") or 0)
        self._completion = int(usage.get("completion_tokens") or 0)

    def ended(self, grant: Grant, outcome: str, retry_after: float = 0.0) -> Ended:
        """The end of a call, for the owner."""
        return Ended(
            request_id=grant.request_id,
            outcome=outcome,
            prompt_tokens=self._prompt,
            completion_tokens=self._completion,
            first=self._first,
            seconds=self.called_seconds,
            retry_after=retry_after,
        )

    def record(self, outcome: str) -> CallRecord:
        """The end of the request, for the books."""
        called = self._grant is not None and self.cache == "miss"
        target = self._grant.target if self._grant is not None and called else None
        return CallRecord(
            request_id=self.ask.request_id,
            caller=self.ask.caller,
            kind=self.ask.kind,
            backend="" if target is None else target.backend,
            model=self.ask.model if target is None else target.model,
            tier=self.ask.tier,
            prompt_tokens=self._prompt if called else 0,
            completion_tokens=self._completion if called else 0,
            queued=self._queued,
            first=self._first,
            seconds=self._clock.monotonic() - self._began,
            cache=self.cache,
            outcome=outcome,
            at=self._clock.wall(),
        )
