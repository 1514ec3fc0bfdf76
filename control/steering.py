"""Tell a running job something, for a person at a terminal."""

from __future__ import annotations

from typing import Any, NamedTuple

from colony.contracts import JobState, JobView
from colony.errors import NotFound
from colony.ledger.port import Ledger
from control import session
from control.unopened import Unopened, UnopenedState, job_or_unopened, why_unopened


class Steerable(NamedTuple):
    """A job that can be told something."""

    workflow_id: str
    job: int | None = None
    """Number; None for a workflow in code, which has no row in the ledger: what its agents do has."""
    state: str = "running"

    @property
    def name(self) -> str:
        """What to call it by."""
        return self.workflow_id if self.job is None else str(self.job)


async def steerable(ledger: Ledger, name: str) -> Steerable:
    """The job called `name`: number, key or workflow id. Raises `NotFound` for one that has ended or is not started.

    One without a row may be a workflow in code, which never has one: if it was started, Temporal says what it is.
    """
    try:
        found = await job_or_unopened(ledger, session.failure_here, name)
    except NotFound:
        return Steerable(name)
    if isinstance(found, Unopened):
        if found.state is not UnopenedState.OPENING:
            raise NotFound(f"Job {found.workflow_id} waits for {why_unopened(found).what}.")
    elif found.state is not JobState.RUNNING:
        raise has_ended(found)
    return Steerable(found.workflow_id, found.job)


def has_ended(view: JobView) -> NotFound:
    """What a person is told who wants something of a job that has ended."""
    return NotFound(f"Job {view.job} is {view.state}.", remedy=f"See it with `colony job {view.job}`.")


async def steer(name: str, update: str, *arguments: Any) -> tuple[Steerable, Any]:
    """Have the job do an update (`pause`, `resume`, `set_priority`, `approve`); the job, and what the update returns.

    `name` is its number, key or workflow id. Raises `NotFound` for one that is not there or has ended, what the job
    refuses the update with, `Unavailable` and `DeadlineExceeded`.
    """
    async with session.ledger_here() as ledger:
        found = await steerable(ledger, name)
    async with session.engine_here() as engine:
        return found, await engine.update(found.workflow_id, update, *arguments)
