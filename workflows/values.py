"""Reads the small values that steps refer to, from results in the ledger."""

from __future__ import annotations

from typing import Any, Final

import orjson

from colony.errors import BadInput
from colony.jobs import JobPlan
from colony.ledger.port import JobLedger
from workflows.conditions import at_path
from workflows.contracts import ValueAt

MOST_BYTES: Final = 4 * 1024
"""Most bytes of a value, as JSON: it travels through the history."""


async def value_at(ledger: JobLedger, plan: JobPlan, where: ValueAt) -> Any:
    """The value; None when the step has no good result or its result no such field.

    Raises `BadInput` for a step with several results and for a value that is too large.
    """
    name = plan.steps[where.step].name
    tasks = await ledger.task_count(plan.job, where.step) or 0
    if tasks > 1:
        raise BadInput(f"Step {name!r} has {tasks} results, so no one value.", remedy="Reduce them to one first.")
    results = await ledger.results(plan.job, where.step, 0, tasks)
    value = at_path(orjson.loads(results[0][1]), where.field) if results else None
    size = len(orjson.dumps(value))
    if size > MOST_BYTES:
        raise BadInput(
            f"The value {where.field or 'of the whole result'!r} of step {name!r} has {size:,} bytes;"
            f" at most {MOST_BYTES:,} are allowed.",
            remedy="Name a smaller field.",
        )
    return value
