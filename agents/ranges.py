"""Reading the results of an earlier step, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from agents.base import AgentContext, AgentTask
from agents.fields import whole_number
from colony.errors import BadInput

PAGE: Final = 200
"""Results read at once."""


async def range_pages(
    task: AgentTask, ctx: AgentContext, *, page: int = PAGE
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The good results that the payload `{"step", "first", "end"}` of a reduce task names, in order.

    Raises `BadInput` naming the field that is wrong.
    """
    step = whole_number(task.payload, "step")
    first = whole_number(task.payload, "first")
    end = whole_number(task.payload, "end")
    if end < first:
        raise BadInput(f"Field 'end' must be at least 'first' ({first}), not {end}.")
    for start in range(first, end, page):
        yield await ctx.results(step, start, min(start + page, end))
