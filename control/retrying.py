"""Try again what a job left undone: for a person at a terminal, and for the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from colony.contracts import JobView, StepCounts
from colony.errors import AlreadyExists
from colony.ledger.port import Ledger
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
    """Tasks of that step that are done again; 0 for a step that has none, or has none yet."""


class Retrial(NamedTuple):
    """A retry that may be started."""

    before: JobView
    step: str
    again: int
    given: dict[str, Any]
    """Input of the new job."""
    workflow_id: str
    """Its name."""


async def retrial(
    ledger: Ledger,
    name: str,
    *,
    step: str = "",
    whole: bool = False,
    workflow_id: str = "",
    more: Mapping[str, Any] | None = None,
) -> Retrial:
    """What a retry of a job would do; `more` is what it is given anew: `priority`, `tenant`, `llm_tokens`.

    Its workflow id is that of the other with `.retry-` and the other's number, so that a job is retried once, and a
    retry that fails is retried in turn. Raises `NotFound`, `BadInput` when there is nothing to retry.
    """
    before = await ledger.job(name)
    plan = await ledger.plan(before.job)
    origin = origin_of(Retry(job=str(before.job), step=step, whole=whole), before.template, before, plan)
    again = next((_again(each, whole=whole) for each in before.steps if each.number == origin.step), 0)
    asked = Retry(job=str(before.job), step=str(plan.steps[origin.step].name), whole=whole)
    return Retrial(
        before,
        asked.step,
        again,
        {FIELD: asked.model_dump(mode="json"), **(more or {})},
        workflow_id or f"{before.workflow_id[:150]}.retry-{before.job}",
    )


def _again(counts: StepCounts, *, whole: bool) -> int:
    return counts.tasks if whole else counts.tasks - counts.ok


def retried_already(found: Retrial, *, started: bool = True) -> AlreadyExists:
    """The error for a retry whose name is taken, by one that was started or by one that never was."""
    if not started:
        return AlreadyExists(
            f"The id {found.workflow_id!r} belongs to a job that was never started.",
            remedy="Choose another id, or leave it out.",
        )
    return AlreadyExists(
        f"Job {found.before.job} was retried already, as {found.workflow_id!r}.",
        remedy="Retry that one, or choose another id.",
    )


async def retry_job(
    name: str,
    *,
    step: str = "",
    whole: bool = False,
    workflow_id: str = "",
    more: Mapping[str, Any] | None = None,
) -> Retried:
    """Start a job that goes on with what another one left undone: see `retrial`. Raises also `AlreadyExists`."""
    async with session.ledger_here() as ledger, session.temporal_here() as client:
        found = await retrial(ledger, name, step=step, whole=whole, workflow_id=workflow_id, more=more)
        try:
            started = await start_job(client, found.before.template, found.given, found.workflow_id)
        except AlreadyExists as error:
            raise retried_already(found) from error
        return Retried(await opened_job(client, started, ledger), found.before, found.step, found.again)
