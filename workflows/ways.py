"""Which way a job takes through its plan: what is taken from where, and what is left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from colony.contracts import StepCounts
from colony.jobs import JobPlan, StepPlan
from workflows.contracts import StepView, TakeFrom


def takes_of(step: StepPlan, finished: Sequence[StepCounts]) -> tuple[TakeFrom, ...] | None:
    """Where the tasks of a step come from; empty when its plan says it all, None when all of it was skipped."""
    if not step.sources:
        return None if step.over is not None and finished[step.over].skipped else ()
    ran = [
        TakeFrom(step=number, only=source.only)
        for source in step.sources
        if (number := next((each for each in source.steps if not finished[each].skipped), None)) is not None
    ]
    return tuple(ran) or None


def past(plan: JobPlan, first: int, end: int) -> tuple[StepCounts, ...]:
    """The counts of steps that are skipped: `first` <= number < `end`."""
    return tuple(StepCounts(number=step.number, name=step.name, skipped=True) for step in plan.steps[first:end])


def steps_seen(plan: JobPlan, finished: Sequence[StepCounts], *, closed: bool) -> tuple[StepView, ...]:
    """The steps as people see them."""
    found: list[StepView] = []
    for step in plan.steps:
        known = {"number": step.number, "name": step.name, "kind": step.kind.value}
        if step.number < len(finished):
            done = finished[step.number]
            counts = done.model_dump(include={"tasks", "ok", "failed", "seconds"})
            found.append(StepView.model_validate({**known, **counts, "state": "skipped" if done.skipped else "done"}))
        else:
            current = step.number == len(finished) and not closed
            found.append(StepView.model_validate({**known, "state": "current" if current else "ahead"}))
    return tuple(found)
