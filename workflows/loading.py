"""Writes the tasks of a step into the ledger, from the source or from the outcomes of earlier steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final, Protocol, cast

import orjson

from colony.contracts import BadRow, StepLoad
from colony.errors import BadInput
from colony.jobs import JobPlan, StepKind, StepPlan
from colony.ledger.histories import HistoryLedger
from colony.ledger.port import JobLedger
from workflows.contracts import TakeFrom
from workflows.given_rows import ROWS
from workflows.naming import about_file
from workflows.retrying import taken_over
from workflows.source_folder import FOLDER, folder_rows
from workflows.sources import read_rows

_PAGE: Final = 1_000


class LoadLedger(JobLedger, HistoryLedger, Protocol):
    """What loading a step needs of the ledger."""


async def load_tasks_of(ledger: LoadLedger, plan: JobPlan, step: StepPlan, takes: Sequence[TakeFrom] = ()) -> StepLoad:
    """Load one step; the same call again changes nothing. Raises `BadInput`, or what the ledger raises.

    `takes` says where the tasks come from when the plan leaves a choice.
    """
    copied = await taken_over(ledger, plan, step)
    if copied is not None:
        return copied
    if step.kind is StepKind.LOAD:
        with about_file(PurePath(plan.source.path).name if plan.source is not None else ""):
            return await _load_source(ledger, plan, step)
    if len(takes) > 1 or any(each.only for each in takes):
        return await _load_several(ledger, plan, step, takes)
    over = takes[0].step if takes else step.over
    if over is None:
        raise BadInput(f"Step {step.name!r} is over no step.")
    if step.kind is StepKind.REDUCE:
        return await ledger.load_reduce(plan.job, step.number, over, step.group)
    if plan.steps[over].kind is StepKind.LOAD:
        count = await ledger.task_count(plan.job, step.number)
        return StepLoad(tasks=count or 0)
    return await ledger.load_map(plan.job, step.number, over)


async def _load_source(ledger: JobLedger, plan: JobPlan, step: StepPlan) -> StepLoad:
    """The rows of the source become the tasks of every map over this step, so they are written once, not twice."""
    loaded = StepLoad(tasks=0)
    bad: list[BadRow] = []
    targets = [each for each in plan.steps if each.over == step.number]
    if not targets:
        return loaded  # a job that only waits, asks and calls needs no rows
    for number, target in enumerate(targets):
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
    if plan.source.format == ROWS:
        yield [(seq, orjson.dumps(row)) for seq, row in enumerate(plan.source.rows)]
        return
    if plan.source.format == FOLDER:
        chunks = folder_rows(plan.source)
    else:
        chunks = read_rows(plan.source, [str(name) for name in step.parameters.get("optional", [])], bad)
    while chunk := await asyncio.to_thread(next, chunks, None):
        yield chunk


async def _load_several(ledger: JobLedger, plan: JobPlan, step: StepPlan, takes: Sequence[TakeFrom]) -> StepLoad:
    if step.kind is StepKind.MAP:
        return await ledger.load_source(plan.job, step.number, _results(ledger, plan, takes), [])
    payloads: list[bytes] = []
    for take in takes:
        tasks = await ledger.task_count(plan.job, take.step) or 0
        for first in range(0, tasks, step.group):
            part = {"step": take.step, "first": first, "end": min(first + step.group, tasks)}
            payloads.append(orjson.dumps(part))
    return await ledger.load_tasks(plan.job, step.number, [(None, payload) for payload in payloads])


async def _results(
    ledger: JobLedger, plan: JobPlan, takes: Sequence[TakeFrom]
) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    seq = 0
    for take in takes:
        tasks = await ledger.task_count(plan.job, take.step) or 0
        for first in range(0, tasks, _PAGE):
            page = await ledger.results(plan.job, take.step, first, min(tasks, first + _PAGE))
            taken = [payload for _, result in page if (payload := taken_from(result, take.only)) is not None]
            yield list(enumerate(taken, seq))
            seq += len(taken)


def taken_from(result: bytes, only: str) -> bytes | None:
    """The payload a result becomes under a filter (see `colony.jobs.StepSource`), or None. Pure.

    Work handed off to somebody the step does not name is a result like any other.
    """
    if not only:
        return result
    word, *doers = only.split()
    target, payload = handed_off(orjson.loads(result))
    if word == "to":
        return orjson.dumps(payload) if target in doers else None
    return None if target in doers else result


def handed_off(value: Any) -> tuple[str, Mapping[str, Any]]:
    """To whom a result hands work off, as `type/action`, and the work; empty for none. Pure."""
    note: Any = cast("dict[str, Any]", value).get("hand_off") if isinstance(value, dict) else None
    if not isinstance(note, dict):
        return "", {}
    fields = cast("dict[str, Any]", note)
    agent, action, payload = fields.get("agent"), fields.get("action"), fields.get("payload")
    if not (isinstance(agent, str) and isinstance(action, str) and isinstance(payload, dict)):
        return "", {}
    return f"{agent}/{action}", cast("dict[str, Any]", payload)
