"""Tell a running job something, for a person at a terminal."""

from __future__ import annotations

from typing import Any

from colony.contracts import JobState, JobView
from colony.errors import NotFound
from control import session
from control.unopened import find_unopened, why_unopened


async def steer(name: str, update: str, *arguments: Any) -> tuple[JobView, Any]:
    """Have the job do an update (`pause`, `resume`, `set_priority`, `approve`); the job, and what the update returns.

    `name` is its number, key or workflow id. Raises `NotFound` for one that is not there or has ended, what the job
    refuses the update with, `Unavailable` and `DeadlineExceeded`.
    """
    async with session.ledger_here() as ledger:
        try:
            view = await ledger.job(name)
        except NotFound:
            found = await find_unopened(ledger, session.failure_here, name)
            raise NotFound(f"Job {found.workflow_id} waits for {why_unopened(found).what}.") from None
    if view.state is not JobState.RUNNING:
        raise NotFound(f"Job {view.job} is {view.state}.", remedy=f"See it with `colony job {view.job}`.")
    async with session.engine_here() as engine:
        return view, await engine.update(view.workflow_id, update, *arguments)
