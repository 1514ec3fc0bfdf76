"""Tells the bus what becomes of jobs: opened, closed, to be cancelled. At most once and never waited for long.

The ledger is the truth: a job goes on, and ends, whether or not the bus hears of it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from temporalio import activity

from colony.errors import ColonyError
from colony.ids import event_subject
from colony.jobs import JobPlan
from colony.ledger.port import JobLedger
from colony.messaging.port import Envelope, Messenger

OPENED: Final = "job-opened"
CLOSED: Final = "job-closed"
CANCEL: Final = "cancel"

_TELL_SECONDS: Final = 1.0


class JobEvents:
    """Publishes `colony.event.<kind>.<key>`. No method raises a `ColonyError`."""

    def __init__(self, ledger: JobLedger, messenger: Messenger | None) -> None:
        """Without `messenger` nothing is published."""
        self._ledger = ledger
        self._messenger = messenger

    async def opened(self, plan: JobPlan) -> None:
        """A job is open. Told again it has the same message id."""
        payload: dict[str, Any] = {"priority": plan.priority, "tenant": plan.tenant}
        await self._tell(OPENED, plan.key, {**_of_job(plan.job, plan.key, plan.workflow_id, plan.template), **payload})

    async def closed(self, job: int) -> None:
        """A job is closed: how, is as the ledger says it."""
        if self._messenger is None:
            return
        try:
            async with asyncio.timeout(_TELL_SECONDS):
                views = await self._ledger.jobs(1, before=job + 1)  # without the counts of its steps
        except (ColonyError, TimeoutError) as error:
            activity.logger.info("nobody is told that job %d is closed: %s", job, error)
            return
        for view in views:
            if view.job == job and view.closed_at is not None:
                about = _of_job(job, view.key, view.workflow_id, view.template)
                ended = {"state": view.state.value, "reason": view.reason, "closed_at": view.closed_at}
                await self._tell(CLOSED, view.key, {**about, **ended})

    async def cancelling(self, job: int, key: str) -> None:
        """A job is to be cancelled: hosts that hear it need not wait for the next look at the mark."""
        await self._tell(CANCEL, key, {"job": job, "key": key})

    async def _tell(self, kind: str, key: str, payload: dict[str, Any]) -> None:
        if self._messenger is None:
            return
        fact = Envelope(kind=kind, payload=payload, message_id=f"{kind}-{key}")
        try:
            async with asyncio.timeout(_TELL_SECONDS):
                await self._messenger.tell(event_subject(kind, key), fact)
        except (ColonyError, TimeoutError) as error:
            activity.logger.info("event %s of job %s is not sent, the ledger has it: %s", kind, key, error)


def _of_job(job: int, key: str, workflow_id: str, template: str) -> dict[str, Any]:
    return {"job": job, "key": key, "workflow_id": workflow_id, "template": str(template)}
