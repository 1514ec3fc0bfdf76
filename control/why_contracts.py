"""What a job waits for, and the facts it is told from. Pure data."""

from __future__ import annotations

from colony.contracts import Frozen, JobView, Lease
from colony.ledger.sites import MonitorPulse
from control.llm_state import LlmView
from workflows.contracts import Progress
from workflows.standing import PendingWork, QueueDepth


class Reason(Frozen):
    """One thing that is waited for."""

    code: str
    """A word for machines: `paused`, `approval`, `timer`, `called_job`, `retry_delay`, `queue`, `quota`, `budget` …"""
    what: str
    since: float | None = None
    """Wall-clock seconds; None where nobody noted it."""
    until: float | None = None
    """When it ends by itself; None when it does not, or nobody knows."""
    frees: str = ""
    """What would free it."""


class JobFacts(Frozen):
    """What was found out about a job; what could not be asked is None or empty."""

    view: JobView
    now: float = 0.0
    """When it was asked: wall-clock seconds."""
    progress: Progress | None = None
    trouble: tuple[str, ...] = ()
    """Who did not answer."""
    pending: tuple[PendingWork, ...] = ()
    queues: tuple[QueueDepth, ...] = ()
    leases: tuple[Lease, ...] = ()
    unowned: int = 0
    """Shards nobody owns."""
    dispatcher: bool = True
    """Whether one lives."""
    llm: LlmView = LlmView()
    """What the gateway tells."""
    monitor: MonitorPulse | None = None
    """Its sites, of a job that watches some."""
    looked_at: float | None = None
    """When a monitor whose sites are all paused last looked at one."""
