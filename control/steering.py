"""Tell a running job something, for a person at a terminal."""

from __future__ import annotations

from typing import Any

from colony.contracts import JobState, JobView
from colony.errors import NotFound
from control import session


async def steer(name: str, update: str, *arguments: Any) -> tuple[JobView, Any]:
    """Have the job do an update (`pause`, `resume`, `set_priority`, `approve`); the job, and what the update returns.

    `name` is its number, key or workflow id. Raises `NotFound` for one that is not there or has ended, what the job
    refuses the update with, `Unavailable` and `DeadlineExceeded`.
    """
    async with session.ledger_here() as ledger:
        view = await ledger.job(name)
    if view.state is not JobState.RUNNING:
        raise NotFound(f"Job {view.job} is {view.state}.", remedy=f"See it with `colony job {view.job}`.")
    async with session.engine_here() as engine:
        return view, await engine.update(view.workflow_id, update, *arguments)
