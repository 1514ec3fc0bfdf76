"""Agents that misbehave on purpose: a user's own types, named in the configuration of the chaos tests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import ClassVar

from agents.base import AgentContext, AgentResult, AgentTask
from colony.errors import BadInput


class Slow:
    """Takes `seconds` for each task, as a model would."""

    actions: ClassVar[Mapping[str, str]] = {"wait": "waits for the seconds of the step's parameters"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await asyncio.sleep(float(task.parameters.get("seconds", 0.05)))
        return AgentResult(value={"n": task.seq})

    async def health(self) -> str:
        return ""


class Poison:
    """Kills its host with task number `poison`; counts all others."""

    actions: ClassVar[Mapping[str, str]] = {"count": "counts, unless the task is poison"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.seq == task.parameters.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(60)
        if task.seq == task.parameters.get("broken"):
            raise BadInput("this task is broken")
        return AgentResult(value={"n": task.seq})

    async def health(self) -> str:
        return ""
