"""How agents build a website together: each action works on one part, the last one puts them together."""

from __future__ import annotations

from typing import Any, Final

from agents.base import AgentContext, AgentTask
from agents.fields import parameters, whole_number
from agents.ranges import range_pages
from agents.skills.website_copy import CopyParameters, worded_copy
from agents.skills.website_parts import Piece, checked, mended, piece_of, plan_piece, value_of, written
from agents.skills.website_report import KIND, Tally
from colony.errors import ColonyError

PART_FIELDS: Final = tuple(Piece.model_fields)
"""Fields of the result of each action on one part."""

_PAGE = 20
"""Parts read at once: each may have a hundred kilobytes."""
_ANSWER_SECONDS = 20.0


async def plan_part(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """From the brief to one part: its place in the site, what leads to it, what it is made of."""
    return value_of(plan_piece(task.payload))


async def write_copy(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The words of a page that the brief leaves open; other parts pass through."""
    piece = piece_of(task.payload)
    copy = await worded_copy(piece.site, piece.part, ctx.llm, parameters(task, CopyParameters))
    return value_of(piece.model_copy(update={"copy_": copy}))


async def build_part(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The file of a part: HTML, stylesheet, script or drawing."""
    return value_of(written(piece_of(task.payload), ctx.agent_id))


async def check_part(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """What is wrong with the file of a part."""
    return value_of(checked(piece_of(task.payload)))


async def mend_part(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The file once more, with what was found in mind."""
    return value_of(mended(piece_of(task.payload), ctx.agent_id))


async def return_part(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """A part with findings goes back to the agent that wrote it; others pass through.

    Where its author cannot be reached, the part is mended here: it is lost in no case.
    """
    piece = piece_of(task.payload)
    if not piece.findings:
        return value_of(piece)
    try:
        answer = await ctx.ask(piece.author, "mend_part", value_of(piece), timeout=_ANSWER_SECONDS)
        return value_of(_same_part(piece, piece_of(answer)))
    except ColonyError:  # its host may just be gone: what it would do needs nothing that only it has
        return value_of(mended(piece, ctx.agent_id))


async def assemble_site(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The report of the whole site, and the range its files are in."""
    tally = Tally()
    async for page in range_pages(task, ctx, page=_PAGE):
        tally.add(piece_of(value) for value in page)
    span = {name: whole_number(task.payload, name) for name in ("step", "first", "end")}
    return {"kind": KIND, "range": span, "report": tally.report().model_dump(mode="json")}


def _same_part(asked: Piece, answered: Piece) -> Piece:
    """The answer, if it is about what was asked; else the part mended as if nobody had answered."""
    if answered.part.path != asked.part.path or not answered.file:
        return mended(asked, asked.author)
    return answered
