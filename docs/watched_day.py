"""A day of six sites that do not exist, for the picture of a monitor's report."""

from __future__ import annotations

import math
from typing import Final

from agents.skills.monitor_report import AlertFacts, HourFacts, MonitorFacts, SiteFacts

_HOUR: Final = 3600.0
_BEGAN: Final = 1_768_435_200.0
"""2026-01-15."""


def watched_day() -> MonitorFacts:
    """What a monitor would say of the day."""
    sites = (
        _site("search.example", 0.31, state="down", problem="status 503", bad=range(22, 24)),
        _site("mail.example", 0.12, state="degraded", problem="the certificate ends in 9.0 days"),
        _site("shop.example", 0.24, bad=range(9, 11)),
        _site("blog.example", 0.08),
        _site("docs.example", 0.05),
        _site("api.example", 0.04),
    )
    alerts = (
        AlertFacts("search.example", "down", "status 503", _BEGAN + 22.4 * _HOUR, None),
        AlertFacts("shop.example", "down", "no answer in time", _BEGAN + 9.2 * _HOUR, _BEGAN + 10.6 * _HOUR),
        AlertFacts("mail.example", "degraded", "the certificate ends in 10.0 days", _BEGAN, None),
    )
    return MonitorFacts(7, _BEGAN, _BEGAN + 24 * _HOUR, sites, alerts)


def _site(name: str, seconds: float, *, state: str = "up", problem: str = "", bad: range = range(0)) -> SiteFacts:
    """Looked at every minute, busiest at noon, slow and mostly away in some hours."""
    share = [0.4 if hour in bad else 1.0 for hour in range(24)]
    busy = [1.4 + math.sin((hour - 6) / 24 * math.tau) / 2 for hour in range(24)]
    p95 = [seconds * each * (4 if hour in bad else 1) for hour, each in enumerate(busy)]
    first = int(_BEGAN // _HOUR)
    return SiteFacts(
        name=name,
        url=f"https://{name}",
        state=state,
        checks=1440,
        uptime=sum(share) / 24,
        mean=seconds,
        p95=max(p95),
        certificate_days=9.0 if problem.startswith("the certificate") else 61.0,
        problem=problem,
        changed_at=0.0,
        hours=tuple(HourFacts(first + hour, share[hour], p95[hour]) for hour in range(24)),
    )
