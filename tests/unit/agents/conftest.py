from __future__ import annotations

from typing import Any

import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from agents.builtin import BUILTIN
from agents.load import load_agent_class


@pytest.fixture(autouse=True)
def results_are_as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test has a built-in agent do, its result has no field that its class does not declare."""
    for path in BUILTIN.values():
        _watch(load_agent_class(path, ("agents",)), monkeypatch)


def _watch(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = kind.handle

    async def handle(self: Any, task: AgentTask, ctx: AgentContext) -> AgentResult:
        result: AgentResult = await original(self, task, ctx)
        declared = set(kind.results[task.action])
        assert "*" in declared or result.value.keys() <= declared, (task.action, set(result.value) - declared)
        return result

    monkeypatch.setattr(kind, "handle", handle)
