"""What the in-memory ledger keeps of one monitor."""

from __future__ import annotations

from dataclasses import dataclass, field

from colony.ids import Id
from colony.ledger.sites import MonitorRow
from colony.sites import AlertRow, CheckRow, NoticeRow, SiteRow


@dataclass
class MonitorTable:
    """One monitor and all that hangs on it."""

    row: MonitorRow
    reply: bytes = b""
    sites: dict[Id, SiteRow] = field(default_factory=dict[Id, SiteRow])
    checks: dict[tuple[Id, int, int], CheckRow] = field(default_factory=dict[tuple[Id, int, int], CheckRow])
    alerts: list[AlertRow] = field(default_factory=list[AlertRow])
    notices: list[NoticeRow] = field(default_factory=list[NoticeRow])
    told: dict[int, str] = field(default_factory=dict[int, str])
    """Number of a notice that is done with -> error, empty for one that was told."""
    last_notice: int = 0
    last_alert: int = 0
