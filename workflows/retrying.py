"""A retry: a job that goes on with what another one left undone. What it is asked, what it takes over.

It is a job of its own, because a job is closed once and its rows never change: later steps number their tasks by the
good outcomes before them, and those are others now. What stays good is copied inside the ledger, not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import Field, ValidationError

from colony.contracts import Frozen, JobState, JobView, StepCounts, StepLoad
from colony.errors import BadInput
from colony.jobs import TASK_KINDS, JobPlan, Origin, StepKind, StepPlan
from colony.ledger.histories import HistoryLedger, Keep
from workflows.contracts import JobInput
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.policies import budget_exceeded

FIELD: Final = "retry"

CARRIED: Final = ("priority", "tenant", "llm_tokens")
"""What a retry takes over from the input of the job before, unless it is given again."""

_NAMES: Final = "`priority`, `tenant` and `llm_tokens`"


class Retry(Frozen):
    """The input field `retry` of a job: which one to go on with."""

    job: str = Field(min_length=1, max_length=200)
    """Number, key or workflow id."""
    step: str = ""
    """Where to begin; empty for the first step that has tasks without a good outcome, else the first not completed."""
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
    extra = sorted(set(given) - {FIELD, *CARRIED})
    if extra:
        raise BadInput(
            f"The input of a retry has the field {extra[0][:60]!r}.",
            remedy=f"A retry works on the input of the job it goes on with; give `retry`, {_NAMES}.",
        )
    try:
        return RetryInput.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"][:4])
        raise BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.") from None


def carried(asked: RetryInput, before: Mapping[str, Any]) -> RetryInput:
    """`asked` with priority, tenant and budget of tokens of the job before, where it says nothing of them. Pure."""
    kept: dict[str, Any] = {}
    for name in CARRIED:
        if name in before and name not in asked.model_fields_set:
            try:
                kept[name] = getattr(JobInput.model_validate({name: before[name]}), name)
            except ValidationError:  # an input of the template that is called the same
                continue
    return asked.model_copy(update=kept)


def origin_of(asked: Retry, template: str, view: JobView, plan: JobPlan) -> Origin:
    """Where the retry of a job begins. Raises `BadInput` for a job or step there is nothing to try again of. Pure."""
    if view.template == MONITOR:
        raise BadInput(
            f"Job {view.job} is a {MONITOR}: it has nothing to go on with.",
            remedy=f"Start a new one: colony run {MONITOR} --input FILE.",
        )
    if view.state is JobState.RUNNING:
        raise BadInput(f"Job {view.job} still runs.", remedy=f"Wait for its end, or: colony cancel {view.job}.")
    if view.template != template:
        raise BadInput(f"Job {view.job} is a {view.template}, not a {template[:80]}.")
    if not plan.steps:
        raise BadInput(
            f"Job {view.job} was refused before its first step.", remedy="Mend its input, and start it anew."
        )
    number = _step_of(asked, view, plan)
    return Origin(job=view.job, step=number, whole=asked.whole)


def _step_of(asked: Retry, view: JobView, plan: JobPlan) -> int:
    counts = {step.number: step for step in view.steps}
    undone = [step.number for step in plan.steps if _has_undone(step, counts.get(step.number), plan)]
    after = _first_open(counts, plan)
    if not asked.step:
        if undone:
            return undone[0]
        if view.state is JobState.DONE or after == len(plan.steps):
            raise BadInput(
                f"Job {view.job} has no task without a good outcome.",
                remedy="To do a step again all the same: `--step NAME --all`.",
            )
        return after
    step = next((step for step in plan.steps if step.name == asked.step), None)
    if step is None:
        names = ", ".join(step.name for step in plan.steps)
        raise BadInput(f"Job {view.job} has no step {asked.step[:64]!r}.", remedy=f"It has: {names}.")
    if step.kind is StepKind.LOAD and step.number < after:
        raise BadInput(f"Step {step.name!r} of job {view.job} is done.", remedy="To read the source again, start anew.")
    found = counts.get(step.number)
    if step.kind not in TASK_KINDS:
        if any(each.kind in TASK_KINDS for each in plan.steps[after : step.number]):
            raise _never_reached(step, view)
        return step.number
    if found is None or not found.tasks:
        raise _never_reached(step, view)
    if not asked.whole and not found.ok < found.tasks:
        raise BadInput(f"All tasks of step {step.name!r} have a good outcome.", remedy="To do it again: `--all`.")
    return step.number


def _never_reached(step: StepPlan, view: JobView) -> BadInput:
    return BadInput(f"Step {step.name!r} of job {view.job} was never reached.", remedy="Name an earlier one.")


def _begun(step: StepPlan, counts: StepCounts | None, plan: JobPlan) -> bool:
    """Whether the job came to a step with tasks. Those of maps over a load are written before, with the load."""
    if step.kind not in TASK_KINDS or counts is None:
        return False
    over_load = step.over is not None and plan.steps[step.over].kind is StepKind.LOAD
    return counts.ok + counts.failed > 0 or (counts.tasks > 0 and not over_load)


def _has_undone(step: StepPlan, counts: StepCounts | None, plan: JobPlan) -> bool:
    return counts is not None and _begun(step, counts, plan) and counts.ok < counts.tasks


def _first_open(counts: Mapping[int, StepCounts], plan: JobPlan) -> int:
    """The first step after those the ledger knows to be done; steps without tasks leave nothing there."""
    begun = [step for step in plan.steps if _begun(step, counts.get(step.number), plan)]
    number = 0 if not begun else begun[-1].number + _is_complete(begun[-1], counts[begun[-1].number])
    while number < len(plan.steps) and _is_loaded(plan.steps[number], counts, plan):
        number += 1
    return number


def _is_complete(step: StepPlan, counts: StepCounts) -> bool:
    all_settled = counts.ok + counts.failed >= counts.tasks
    return all_settled and not budget_exceeded(counts.failed, counts.tasks, step.error_budget)


def _is_loaded(step: StepPlan, counts: Mapping[int, StepCounts], plan: JobPlan) -> bool:
    over = [each.number for each in plan.steps if each.over == step.number]
    return step.kind is StepKind.LOAD and any(number in counts and counts[number].tasks for number in over)


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
