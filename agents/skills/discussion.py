"""Several agents discuss one item over NATS, in turns, then one decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from agents.base import AgentContext
from colony.errors import BadInput, Transient
from colony.ids import AgentType, Id

MOST_BYTES: Final = 200_000
"""Most bytes of a transcript, as JSON: it travels with each turn and ends in the result."""


class Member(BaseModel):
    """Who speaks: any agent of a type, asked to do an action."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: AgentType
    action: Id


class Discussion(BaseModel):
    """How a discussion goes: parameters of the action `discuss`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[Member, ...] = Field(min_length=1, max_length=10)
    turns: int = Field(default=4, ge=1, le=50)
    """Contributions in all; members speak one after the other, in their order."""
    decides: Member | None = None
    """Who decides in the end; None for the last one who spoke."""
    turn_seconds: float = Field(default=10.0, gt=0, le=600)
    """Time for one contribution."""


def checked_item(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The item to discuss. Raises `BadInput` for one without fields."""
    if not payload:
        raise BadInput("There is nothing to discuss: no field 'text', nor any other.")
    return payload


async def discuss(item: Mapping[str, Any], settings: Discussion, ctx: AgentContext) -> dict[str, Any]:
    """`{"item", "decision", "turns", "transcript"}` of a discussion about `item`.

    Each speaker gets the fields of the item and, as `discussion`, what was said before. One who does not answer in
    time loses the turn, which the transcript tells. It ends early when somebody's answer has `"agreed": true`.
    Raises a `Transient` error when nobody spoke at all or the one who decides cannot be reached, `BadInput` when the
    transcript grows too long, and what is permanent of a speaker, such as an unknown action.
    """
    transcript: list[dict[str, Any]] = []
    said: Mapping[str, Any] | None = None
    silent: Transient | None = None
    for turn in range(1, settings.turns + 1):
        member = settings.members[(turn - 1) % len(settings.members)]
        entry: dict[str, Any] = {"turn": turn, "agent": member.agent, "action": member.action}
        try:
            said = await _ask(member, item, transcript, settings, ctx)
        except Transient as error:
            silent = error
            transcript.append({**entry, "silent": str(error)[:300]})
            continue
        transcript.append({**entry, "said": dict(said)})
        if len(orjson.dumps(transcript)) > MOST_BYTES:
            raise BadInput(f"The discussion has more than {MOST_BYTES:,} bytes after {turn} turns.")
        if said.get("agreed") is True:
            break
    if said is None:
        raise silent or BadInput("Nobody spoke.")
    if settings.decides is not None:
        said = await _ask(settings.decides, item, transcript, settings, ctx)
    return {"item": dict(item), "decision": dict(said), "turns": len(transcript), "transcript": transcript}


async def _ask(
    member: Member,
    item: Mapping[str, Any],
    transcript: list[dict[str, Any]],
    settings: Discussion,
    ctx: AgentContext,
) -> Mapping[str, Any]:
    payload = {**item, "discussion": {"turns": settings.turns, "transcript": list(transcript)}}
    return await ctx.ask_type(member.agent, member.action, payload, timeout=settings.turn_seconds)
