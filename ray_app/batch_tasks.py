"""Rows of the ledger as tasks: noted as in flight before they run, and in the form an agent gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
import structlog

from agents.base import AgentTask
from colony.clock import Clock
from colony.contracts import BatchRequest, TaskRow
from colony.errors import Fenced, Transient
from colony.jobs import StepPlan
from ray_app.crew import Crew

_log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 0.25


async def note_started(
    crew: Crew, clock: Clock, batch: BatchRequest, rows: Sequence[TaskRow], stopped: Callable[[], bool]
) -> None:
    """Note these as in flight here; a ledger that is away is asked again until the lease ends or it is `stopped`.

    Raises `Fenced` without a lease, and what is `Permanent`.
    """
    seqs = [row.seq for row in rows]
    while not stopped():
        if not crew.lease.valid():
            raise Fenced("The lease of this host has run out.")
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await crew.ledger.start_tasks(batch, crew.lease.incarnation, seqs)
        except Fenced:
            raise
        except (Transient, TimeoutError) as error:
            _log.warning("noting tasks is tried again", error=str(error))
            await clock.sleep(_RETRY_SECONDS)
        else:
            return


def task_of(row: TaskRow, batch: BatchRequest, step: StepPlan | None, parameters: Mapping[str, Any]) -> AgentTask:
    """What an agent gets for a row."""
    # Validation was done when the row was written; here it would cost more than the task.
    return AgentTask.model_construct(
        action=None if step is None else step.action,
        payload=orjson.loads(row.payload),
        parameters=parameters,
        job=batch.job,
        job_key=batch.key,
        step=batch.step,
        seq=row.seq,
        generation=batch.generation,
        tier="" if step is None else step.tier,
    )
