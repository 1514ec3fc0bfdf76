"""Where a step stands and what comes next: pure moves over `StepCursor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colony.contracts import MAX_BATCH, BatchReport
from workflows.contracts import Range, StepCursor, StepTally
from workflows.policies import FIRST_BATCH, batch_size, pace

MAX_RANGES: Final = 500
"""Most ranges a cursor remembers; beyond it neighbours are joined with the gap between them."""


def start(step: int, tasks: int) -> StepCursor:
    """The cursor of a step of which nothing was handed out yet."""
    return StepCursor(step=step, tasks=tasks, fresh=_whole(tasks))


def take(
    cursor: StepCursor, parallel: int, most: int = MAX_BATCH, first: int = FIRST_BATCH
) -> tuple[StepCursor, Range | None]:
    """The next range to hand out, or None when all of this generation is handed out.

    It has at most `most` tasks, and `first` to begin with.

    Ranges that came back come first, as they are: a second attempt should meet the same tasks.
    """
    if cursor.again:
        return cursor.model_copy(update={"again": cursor.again[1:]}), cursor.again[0]
    if not cursor.fresh:
        return cursor, None
    head, rest = cursor.fresh[0], cursor.fresh[1:]
    left = sum(part.size for part in cursor.fresh)
    wanted = batch_size(left, cursor.tasks, parallel, cursor.seconds_per_task, cursor.size, first)
    size = min(head.size, most, wanted)
    taken = Range(first=head.first, end=head.first + size)
    if taken.end < head.end:
        rest = (Range(first=taken.end, end=head.end), *rest)
    return cursor.model_copy(update={"fresh": rest, "size": max(cursor.size, size)}), taken


def absorb(cursor: StepCursor, handed: Range, report: BatchReport) -> StepCursor:
    """The cursor after a batch over `handed` ended with `report`."""
    ended = report.ok + report.failed
    update: dict[str, object] = {
        "done": min(cursor.tasks, cursor.done + max(0, handed.size - report.left)),
        "failed": cursor.failed + report.failed,
        "hopeless": cursor.hopeless + max(0, report.failed - report.transient),
        "seconds_per_task": pace(cursor.seconds_per_task, ended, report.seconds),
        # The size the pace was measured at bounds the growth of the next batch.
        "size": max(1, handed.size),
    }
    if report.transient > 0:
        update["retry"] = join((*cursor.retry, handed))
        update["passing"] = cursor.passing + report.transient
    if report.left > 0:
        update["again"] = (*cursor.again, handed)
        update["left_reason"] = report.left_reason or "Unavailable"
        update["done"] = cursor.done
    return cursor.model_copy(update=update)


def next_generation(cursor: StepCursor, tally: StepTally) -> StepCursor:
    """The cursor that tries failures again that may pass.

    Only ranges in which such failures were seen, unless the ledger knows of more: reports of lost attempts are lost.
    """
    known = cursor.retry if cursor.retry and cursor.passing >= tally.transient else _whole(cursor.tasks)
    return cursor.model_copy(
        update={
            "generation": cursor.generation + 1,
            "fresh": known,
            "again": (),
            "retry": (),
            "passing": 0,
            "done": max(0, cursor.tasks - tally.transient - tally.missing),
            "failed": tally.failed - tally.transient,
            "sweeps": 0,
        }
    )


def sweep(cursor: StepCursor, tally: StepTally) -> StepCursor:
    """The cursor that visits the whole step once more in the same generation, since tasks have no outcome."""
    return cursor.model_copy(
        update={
            "fresh": _whole(cursor.tasks),
            "again": (),
            "sweeps": cursor.sweeps + 1,
            "done": max(0, cursor.tasks - tally.missing),
        }
    )


def join(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """The same seqs in order, without overlaps; beyond `MAX_RANGES` the smallest gaps are included too."""
    joined: list[Range] = []
    for part in sorted(ranges, key=lambda each: each.first):
        if joined and part.first <= joined[-1].end:
            joined[-1] = Range(first=joined[-1].first, end=max(joined[-1].end, part.end))
        else:
            joined.append(part)
    if len(joined) <= MAX_RANGES:
        return tuple(joined)
    gaps = sorted(range(1, len(joined)), key=lambda at: joined[at].first - joined[at - 1].end)
    close = set(gaps[: len(joined) - MAX_RANGES])
    merged = [joined[0]]
    for at in range(1, len(joined)):
        if at in close:
            merged[-1] = Range(first=merged[-1].first, end=joined[at].end)
        else:
            merged.append(joined[at])
    return tuple(merged)


def _whole(tasks: int) -> tuple[Range, ...]:
    return (Range(first=0, end=tasks),) if tasks > 0 else ()
