"""A retry: a job that goes on with what another one left undone. What it is asked, what it takes over.

It is a job of its own, because a job is closed once and its rows never change: later steps number their tasks by the
good outcomes before them, and those are others now. What stays good is copied inside the ledger, not done again.
"""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import Field, ValidationError

from colony.contracts import Frozen, JobState, JobView, StepCounts, StepLoad
from colony.errors import BadInput
from colony.jobs import TASK_KINDS, JobPlan, Origin, StepKind, StepPlan
from colony.ledger.histories import HistoryLedger, Keep
from workflows.contracts import JobInput

FIELD = "retry"


class Retry(Frozen):
    """The input field `retry` of a job: which one to go on with."""

    job: str = Field(min_length=1, max_length=200)
    """Number, key or workflow id."""
    step: str = ""
    """The step to try again; empty for the first that has tasks without a good outcome."""
    whole: bool = False
    """All tasks of the step, not only those without a good outcome."""


class RetryInput(JobInput):
    """The whole input of a retry."""

    retry: Retry


def retry_of(text: str) -> RetryInput | None:
    """What to go on with, from the input of a job; None for a job that starts afresh. Raises `BadInput`. Pure."""
    given = cast("dict[str, Any]", json.loads(text))
    if FIELD not in given:
        return None
    extra = sorted(set(given) - {FIELD, "priority", "tenant"})
    if extra:
        raise BadInput(
            f"The input of a retry has the field {extra[0][:60]!r}.",
            remedy="A retry works on the input of the job it goes on with; give `retry`, `priority` and `tenant`.",
        )
    try:
        return RetryInput.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"][:4])
        raise BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.") from None


def origin_of(asked: Retry, template: str, view: JobView, plan: JobPlan) -> Origin:
    """Where the retry of a job begins. Raises `BadInput` for a job or step there is nothing to try again of. Pure."""
    if view.state is JobState.RUNNING:
        raise BadInput(f"Job {view.job} still runs.", remedy=f"Wait for its end, or: colony cancel {view.job}.")
    if view.template != template:
        raise BadInput(f"Job {view.job} is a {view.template}, not a {template[:80]}.")
    number = _step_of(asked, view, plan)
    return Origin(job=view.job, step=number, whole=asked.whole)


def _step_of(asked: Retry, view: JobView, plan: JobPlan) -> int:
    counts = {step.number: step for step in view.steps}
    if not asked.step:
        undone = [step.number for step in plan.steps if _has_undone(step, counts.get(step.number))]
        if not undone:
            raise BadInput(
                f"Job {view.job} has no task without a good outcome.",
                remedy="To do a step again all the same: `--step NAME --all`.",
            )
        return undone[0]
    step = next((step for step in plan.steps if step.name == asked.step), None)
    if step is None or step.kind not in TASK_KINDS:
        names = ", ".join(step.name for step in plan.steps if step.kind in TASK_KINDS)
        raise BadInput(f"Job {view.job} has no step {asked.step[:64]!r} with tasks.", remedy=f"It has: {names}.")
    found = counts.get(step.number)
    if found is None or not found.tasks:
        raise BadInput(f"Step {step.name!r} of job {view.job} was never reached.", remedy="Name an earlier one.")
    if not asked.whole and not _has_undone(step, found):
        raise BadInput(f"All tasks of step {step.name!r} have a good outcome.", remedy="To do it again: `--all`.")
    return step.number


def _has_undone(step: StepPlan, counts: StepCounts | None) -> bool:
    return step.kind in TASK_KINDS and counts is not None and counts.ok < counts.tasks


def keep_of(step: int, origin: Origin) -> Keep:
    """Which outcomes of a step come along. Pure."""
    if step < origin.step:
        return "all"
    return "good" if step == origin.step and not origin.whole else "none"


async def taken_over(ledger: HistoryLedger, plan: JobPlan, step: StepPlan) -> StepLoad | None:
    """Load a step of a retry from the job it goes on with; None for a step that is to be loaded as any other."""
    origin = plan.origin
    if origin is None:
        return None
    if step.kind is StepKind.LOAD:
        targets = [each.number for each in plan.steps if each.over == step.number]
    else:
        targets = [step.number] if step.number <= origin.step else []
    loads = [await ledger.copy_step(plan.job, each, origin.job, keep_of(each, origin)) for each in targets]
    found = [load for load in loads if load is not None]
    return found[0] if found and len(found) == len(targets) else None
