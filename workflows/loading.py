"""Writes the tasks of a step into the ledger, from the source or from the outcomes of an earlier step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import PurePath

from colony.contracts import BadRow, StepLoad
from colony.errors import BadInput
from colony.jobs import JobPlan, StepKind, StepPlan
from colony.ledger.port import JobLedger
from workflows.naming import about_file
from workflows.sources import read_rows


async def load_tasks_of(ledger: JobLedger, plan: JobPlan, step: StepPlan) -> StepLoad:
    """Load one step; the same call again changes nothing. Raises `BadInput`, or what the ledger raises."""
    if step.kind is StepKind.LOAD:
        with about_file(PurePath(plan.source.path).name if plan.source is not None else ""):
            return await _load_source(ledger, plan, step)
    if step.over is None:
        raise BadInput(f"Step {step.name!r} is over no step.")
    if step.kind is StepKind.REDUCE:
        return await ledger.load_reduce(plan.job, step.number, step.over, step.group)
    if plan.steps[step.over].kind is StepKind.LOAD:
        count = await ledger.task_count(plan.job, step.number)
        return StepLoad(tasks=count or 0)
    return await ledger.load_map(plan.job, step.number, step.over)


async def _load_source(ledger: JobLedger, plan: JobPlan, step: StepPlan) -> StepLoad:
    """The rows of the source become the tasks of every map over this step, so they are written once, not twice."""
    loaded = StepLoad(tasks=0)
    bad: list[BadRow] = []
    for number, target in enumerate(each for each in plan.steps if each.over == step.number):
        rows: list[BadRow] = []
        written = await ledger.load_source(plan.job, target.number, _rows(plan, step, rows), [] if number else rows)
        if number == 0:
            loaded, bad = written, rows
    if loaded.tasks == 0:
        first = f"; line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise BadInput(
            f"No row of the source is usable ({loaded.bad_rows} are broken{first}).",
            remedy="Look whether the columns are the right ones.",
        )
    return loaded


async def _rows(plan: JobPlan, step: StepPlan, bad: list[BadRow]) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    if plan.source is None:
        raise BadInput("The job has no source.")
    chunks = read_rows(plan.source, [str(name) for name in step.parameters.get("optional", [])], bad)
    while chunk := await asyncio.to_thread(next, chunks, None):
        yield chunk
