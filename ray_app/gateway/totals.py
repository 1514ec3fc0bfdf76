"""Sums over all requests since the start, and the rate of the last minute. Pure, time is handed in."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ray_app.gateway.contracts import CallRecord

MOST_NAMES: Final = 200
"""Agent types, models and outcomes counted apart; what comes after them counts as `other`. Callers choose names."""

SPAN: Final = 60
"""Seconds a rate is taken over."""

OTHER: Final = "other"


@dataclass(slots=True)
class Sums:
    """What some requests came to."""

    requests: int = 0
    failed: int = 0
    """Ended neither well nor by their caller's leaving."""
    hits: int = 0
    """Answered from the cache."""
    shared: int = 0
    """Answered by joining one under way."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queued_seconds: float = 0.0
    first_seconds: float = 0.0
    """Time to the first piece, summed over `streams`."""
    seconds: float = 0.0
    calls: int = 0
    """Requests that reached a backend."""
    streams: int = 0
    """Those of them whose answer came in pieces."""

    def add(self, call: CallRecord) -> None:
        """Count one more."""
        self.requests += 1
        self.failed += call.outcome not in ("ok", "cancelled")
        self.hits += call.cache == "hit"
        self.shared += call.cache == "shared"
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens
        self.queued_seconds += call.queued
        self.first_seconds += call.first
        self.seconds += call.seconds
        self.calls += bool(call.backend)
        self.streams += call.first > 0


@dataclass(slots=True)
class _Second:
    number: int
    requests: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Totals:
    """Everything, by agent type, by model and by outcome."""

    started: float
    """Monotonic time of the first second that counts."""
    all: Sums = field(default_factory=Sums)
    by_agent_type: dict[str, Sums] = field(default_factory=dict[str, Sums])
    by_model: dict[str, Sums] = field(default_factory=dict[str, Sums])
    by_outcome: Counter[str] = field(default_factory=Counter[str])
    _seconds: deque[_Second] = field(default_factory=deque[_Second])

    def add(self, call: CallRecord, now: float) -> None:
        """Count one request that ended now."""
        self.all.add(call)
        _of(self.by_agent_type, call.caller.agent_type).add(call)
        _of(self.by_model, call.model).add(call)
        known = call.outcome in self.by_outcome or len(self.by_outcome) < MOST_NAMES
        self.by_outcome[call.outcome if known else OTHER] += 1
        second = self._second(now)
        second.requests += 1
        second.tokens += call.completion_tokens

    def state(self, now: float) -> dict[str, Any]:
        """Numbers for people and metrics; rates are of the last minute."""
        self._forget(now)
        span = min(max(now - self.started, 1.0), float(SPAN))
        return {
            **asdict(self.all),
            "tokens_per_second": round(sum(second.tokens for second in self._seconds) / span, 2),
            "requests_per_second": round(sum(second.requests for second in self._seconds) / span, 2),
            "by_agent_type": {name: asdict(sums) for name, sums in sorted(self.by_agent_type.items())},
            "by_model": {name: asdict(sums) for name, sums in sorted(self.by_model.items())},
            "by_outcome": dict(sorted(self.by_outcome.items())),
        }

    def _second(self, now: float) -> _Second:
        number = math.floor(now)
        if not self._seconds or self._seconds[-1].number < number:
            self._forget(now)
            self._seconds.append(_Second(number))
        return self._seconds[-1]

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].number <= math.floor(now) - SPAN:
            self._seconds.popleft()


def _of(table: dict[str, Sums], name: str) -> Sums:
    if name not in table and len(table) >= MOST_NAMES:
        name = OTHER
    return table.setdefault(name, Sums())
