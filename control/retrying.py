"""Try again what a job left undone, for a person at a terminal."""

from __future__ import annotations

from typing import NamedTuple

from colony.contracts import JobView
from colony.errors import AlreadyExists
from control import session
from control.running import opened_job
from workflows.client import start_job
from workflows.retrying import FIELD, Retry, origin_of


class Retried(NamedTuple):
    """A retry that was started."""

    view: JobView
    """The new job."""
    before: JobView
    """The one it goes on with."""
    step: str
    """Where it begins."""
    again: int
    """Tasks of that step that are done again."""


async def retry_job(name: str, *, step: str = "", whole: bool = False, workflow_id: str = "") -> Retried:
    """Start a job that goes on with what another one left undone.

    Its workflow id is that of the other with `.retry-` and the other's number, so that a job is retried once, and a
    retry that fails is retried in turn. Raises `NotFound`, `BadInput` when there is nothing to retry, `AlreadyExists`.
    """
    async with session.ledger_here() as ledger, session.temporal_here() as client:
        before = await ledger.job(name)
        plan = await ledger.plan(before.job)
        origin = origin_of(Retry(job=str(before.job), step=step, whole=whole), before.template, before, plan)
        counts = before.steps[origin.step]
        asked = Retry(job=str(before.job), step=str(plan.steps[origin.step].name), whole=whole)
        chosen = workflow_id or f"{before.workflow_id[:150]}.retry-{before.job}"
        try:
            started = await start_job(client, before.template, {FIELD: asked.model_dump(mode="json")}, chosen)
        except AlreadyExists as error:
            raise AlreadyExists(
                f"Job {before.job} was retried already, as {chosen!r}.",
                remedy="Retry that one, or choose another id with --id.",
            ) from error
        again = counts.tasks if whole else counts.tasks - counts.ok
        return Retried(await opened_job(client, started, ledger), before, asked.step, again)
