"""The smallest agent of one's own: it greets the person named in the payload."""

from __future__ import annotations

from agents.base import AgentContext, AgentResult, AgentTask
from colony.errors import BadInput


class Greeter:
    """Greets people."""

    actions = {"greet": "greets the person named in the payload"}  # noqa: RUF012 - read, never changed

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """Greet one person. Raises `BadInput` without a name."""
        name = str(task.payload.get("name", "")).strip()
        if not name:
            raise BadInput("The payload has no name.")
        return AgentResult(value={"text": f"{task.parameters['greeting']}, {name}", "by": ctx.agent_id})

    async def health(self) -> str:
        """Nothing can be wrong."""
        return ""
