"""What a benchmark returns, and how several runs of a figure are put together."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from colony.contracts import Frozen


class Spread(Frozen):
    """A figure over several runs."""

    min: float
    median: float
    max: float
    runs: int


class Target(Frozen):
    """A bound that a figure should keep, and whether it did."""

    what: str
    """The figure with its unit."""
    found: float
    bound: float
    met: bool


class BenchResult(Frozen):
    """One benchmark: its figures, those of the baseline, and the ratio of the two where the machine decides."""

    name: str
    metrics: dict[str, Any]
    baseline: dict[str, Any]
    ratio: float | None
    environment: dict[str, Any]
    targets: tuple[Target, ...] = ()
    """What the figures should be on an idle machine of two cores; a busy one may miss them."""


def at_most(what: str, found: float, bound: float) -> Target:
    """A target that is met by `bound` and less."""
    return Target(what=what, found=round(found, 3), bound=bound, met=found <= bound)


def at_least(what: str, found: float, bound: float) -> Target:
    """A target that is met by `bound` and more."""
    return Target(what=what, found=round(found, 3), bound=bound, met=found >= bound)


def spread(values: Sequence[float]) -> Spread:
    """Minimum, median and maximum."""
    return Spread(
        min=round(min(values), 3),
        median=round(statistics.median(values), 3),
        max=round(max(values), 3),
        runs=len(values),
    )


def environment() -> dict[str, Any]:
    """The machine, as far as it explains figures."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(pages * size / 1e9, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }
