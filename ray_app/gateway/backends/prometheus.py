"""Figures out of a page of metrics in Prometheus' text format. Pure."""

from __future__ import annotations

import math


def figures(page: str, *names: str) -> dict[str, float]:
    """Name -> sum over all its label sets; names that are not there are left out."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name not in names:
            continue
        number = rest.rpartition("}")[2].split()
        try:
            value = float(number[0])
        except (IndexError, ValueError):
            continue
        if math.isfinite(value):
            found[name] = found.get(name, 0.0) + value
    return found
