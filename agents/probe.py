"""The smallest agent: for benchmarks and synthetic checks of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from agents.base import AgentContext, AgentResult, AgentTask
from agents.fields import unknown_action

_NOTHING: Final = AgentResult(value={"n": 0})


class Probe:
    """Does nothing, or says what it was told."""

    actions: ClassVar[Mapping[str, str]] = {
        "noop": "returns the payload's n, or 0",
        "echo": "returns the payload and who handled it",
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        if task.action == "noop":
            number = task.payload.get("n")
            return AgentResult(value={"n": number}) if number else _NOTHING
        if task.action == "echo":
            return AgentResult(value={"echo": dict(task.payload), "agent": str(ctx.agent_id)})
        raise unknown_action(task, self.actions)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""
