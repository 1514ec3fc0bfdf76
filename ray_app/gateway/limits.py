"""How fast one caller may ask: a token bucket for each. Pure, time is handed in."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from colony.config.gateway import LimitsConfig

MOST_CALLERS: Final = 100_000
"""Buckets kept at most. Beyond it the one used longest ago is forgotten, as if it were full."""

_ROUNDING: Final = 1e-9
"""Seconds by which sums of floats may be off: waiting for exactly what `take` said must be enough."""


class AgentRates:
    """Buckets of all callers: `requests_per_second` flow in, `burst` fit.

    A bucket is one number, the time at which it will be full again, and is forgotten once that has passed: memory
    follows the callers of the last seconds, not all there ever were.
    """

    def __init__(self, config: LimitsConfig, *, most: int = MOST_CALLERS) -> None:
        self._each = 1.0 / config.requests_per_second
        self._room = self._each * config.burst
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Callers remembered."""
        return len(self._full_at)

    def take(self, name: str, now: float) -> float:
        """Take one request of `name`: 0.0 when taken, else the seconds until one may be."""
        self._forget(now)
        full_at = max(self._full_at.get(name, now), now)
        wait = full_at + self._each - self._room - now
        if wait > _ROUNDING:
            return wait
        self._full_at[name] = full_at + self._each
        self._full_at.move_to_end(name)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets used longest ago: full ones, two at most so that a call stays cheap, and one too many."""
        for _ in range(2):
            oldest = next(iter(self._full_at), None)
            if oldest is None or (self._full_at[oldest] > now and len(self._full_at) < self._most):
                return
            del self._full_at[oldest]
