"""An agent that waits: so that a fleet can be hit while it works."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from agents.base import AgentContext, AgentResult, AgentTask


class Waiting:
    """Waits `seconds`, then gives the payload back."""

    actions: ClassVar[Mapping[str, str]] = {"wait": "waits"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await asyncio.sleep(float(task.payload.get("seconds", 0)))
        return AgentResult(value={**task.payload, "by": ctx.agent_id})

    async def health(self) -> str:
        return ""
