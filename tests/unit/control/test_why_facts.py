"""What is gathered about a job that changes meanwhile."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from colony.clock import ManualClock
from colony.contracts import JobState, JobView
from colony.errors import Unavailable
from colony.ledger.memory import MemoryLedger
from colony.ledger.sites import MonitorPulse
from control.why_facts import Asked, gather
from workflows.monitor_contracts import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from temporalio.client import Client


class _Emptied(MemoryLedger):
    """Its one site, which is paused, is removed as soon as it was counted."""

    async def monitor_pulse(self, job: int) -> MonitorPulse:
        return MonitorPulse(sites=1, paused=1, next_due=None, notices=0, failed_notices=0)


@asynccontextmanager
async def _away() -> AsyncGenerator[Client]:
    raise Unavailable("Temporal is away.")
    yield


async def test_a_monitor_whose_last_site_is_removed_meanwhile() -> None:
    view = JobView(job=7, key="k", workflow_id="w", template=TEMPLATE, state=JobState.RUNNING, opened_at=0.0)
    found = await gather(_Emptied(ManualClock()), Asked(_away, gateway=None), view)
    assert (found.looked_at, found.trouble) == (None, ("Temporal is away.",))
