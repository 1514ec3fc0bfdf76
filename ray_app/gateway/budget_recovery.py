"""Budgets that outlive the process: what a job used, may use and was started by, from the ledger at first sight."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from colony.clock import Clock
from colony.errors import BadInput, ColonyError
from colony.ledger.llm import LlmLedger
from colony.llm.contracts import JobBudget
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.contracts import Ended, Grant, Ticket
from ray_app.gateway.ports import Owner
from ray_app.gateway.single_flight import SingleFlight

_log = structlog.get_logger(__name__)

READ_SECONDS: Final = 2.0
"""Longest wait for the ledger. Without its answer a job goes on with what is known here."""

REST: Final = 5.0
"""Seconds the ledger is left alone after it failed: a budget must not stop the models with the ledger."""


class RecoveringOwner:
    """An `Owner` that knows the past of a job before it grants its first request.

    Whoever opens a job may write its budget and its parent into the ledger before: here they are read.
    """

    def __init__(
        self,
        inner: Owner,
        budgets: Budgets,
        ledger: LlmLedger,
        clock: Clock,
        flights: SingleFlight[list[JobBudget]],
    ) -> None:
        """`flights` is only for this object; its owner closes it."""
        self._inner = inner
        self._budgets = budgets
        self._ledger = ledger
        self._clock = clock
        self._flights = flights
        self._rests_until = 0.0
        self._reading: dict[str, tuple[Ticket, float]] = {}
        """Request -> what it asks and since when, while the ledger is read for it."""

    async def acquire(self, ticket: Ticket) -> Grant:
        """See `Owner`."""
        await self._recover(ticket)
        return await self._inner.acquire(ticket)

    async def release(self, ended: Ended) -> None:
        """See `Owner`."""
        await self._inner.release(ended)

    async def state(self) -> dict[str, Any]:
        """See `Owner`."""
        return await self._inner.state()

    async def why(self, request_id: str) -> dict[str, Any]:
        """See `Owner`."""
        found = self._reading.get(request_id)
        if found is None:
            return await self._inner.why(request_id)
        ticket, since = found
        return {
            "request_id": request_id,
            "agent": ticket.caller.name,
            "priority": ticket.priority,
            "state": "waiting",
            "waits_for": "ledger",
            "since": round(self._clock.monotonic() - since, 3),
            "freed_by": f"the ledger, which tells what {ticket.caller.job} has used so far",
        }

    async def drain(self, replica: str, on: bool) -> None:
        """See `Owner`."""
        await self._inner.drain(replica, on)

    async def _recover(self, ticket: Ticket) -> None:
        job = ticket.caller.job
        if not self._budgets.unknown(job) or self._clock.monotonic() < self._rests_until:
            return
        self._reading[ticket.request_id] = ticket, self._clock.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                line, _ = await self._flights.run(job.encode(), lambda: self._ledger.job_budgets(job))
        except (ColonyError, TimeoutError) as error:
            _log.warning("the ledger does not tell what jobs used", error=repr(error), seconds=REST)
            self._rests_until = self._clock.monotonic() + REST
            return
        finally:
            self._reading.pop(ticket.request_id, None)
        recall(self._budgets, line)


def recall(budgets: Budgets, line: list[JobBudget]) -> None:
    """Tell `budgets` what the ledger knows of a job and of those above it; what it knows already stays."""
    for entry in line:
        if entry.parent:
            try:
                budgets.adopt(entry.job, entry.parent)
            except BadInput as error:
                _log.warning("the ledger says something else of a job", job=entry.job, error=str(error))
    unknown = set(budgets.unknown(line[0].job)) if line else set[str]()
    for entry in line:
        if entry.job not in unknown:
            continue
        if entry.tokens is not None:
            budgets.set_budget(entry.job, entry.tokens)
        budgets.used_so_far(entry.job, entry.used)
