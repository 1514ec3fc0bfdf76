"""How long to wait before a service is started again. Pure."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.2
LONGEST_SECONDS: Final = 10.0
SETTLED_SECONDS: Final = 30.0
"""A service that lived this long starts with the first delay again."""


def restart_delay(deaths_in_a_row: int, jitter: float) -> float:
    """Seconds before restart number `deaths_in_a_row` (from 1); `jitter` in [0, 1) takes up to half of it off."""
    if deaths_in_a_row < 1:
        raise ValueError("counts from 1")
    full = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(deaths_in_a_row - 1, 16))
    return full * (1 - jitter / 2)


def deaths_after(previous: int, lived_seconds: float) -> int:
    """Deaths in a row after one more, given how long the service was ready before."""
    return 1 if lived_seconds >= SETTLED_SECONDS else previous + 1
