"""The smallest agent: for benchmarks and synthetic checks of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import BaseModel, Field

from agents.base import AgentContext, AgentResult, AgentTask
from agents.fields import parameters, unknown_action

_NOTHING: Final = AgentResult(value={"n": 0})


class WaitParameters(BaseModel):
    """What the action `wait` takes."""

    seconds: float = Field(default=0.0, ge=0, le=60)


class Probe:
    """Does nothing, or says what it was told."""

    actions: ClassVar[Mapping[str, str]] = {
        "noop": "returns the payload's n, or 0",
        "echo": "returns the payload and who handled it",
        "wait": "waits the parameter `seconds` (0 to 60), and returns from when until when it did",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "noop": ("n",),
        "echo": ("echo", "agent"),
        "wait": ("began", "ended"),
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        if task.action == "noop":
            number = task.payload.get("n")
            return AgentResult(value={"n": number}) if number else _NOTHING
        if task.action == "echo":
            return AgentResult(value={"echo": dict(task.payload), "agent": str(ctx.agent_id)})
        if task.action == "wait":
            began = ctx.clock.wall()
            await ctx.clock.sleep(parameters(task, WaitParameters).seconds)
            return AgentResult(value={"began": began, "ended": ctx.clock.wall()})
        raise unknown_action(task, self.actions)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""
