"""What an agent is given in a test: everything in memory, nothing mocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.base import AgentContext, AgentTask, Memory, Model, Page
from colony.clock import ManualClock
from colony.errors import NotFound
from colony.ids import AgentId
from colony.ledger.memory import MemoryLedger
from colony.llm.port import Caller, ChatAnswer
from colony.memory.agent_memory import local_memory


class ScriptedModel:
    """Answers with what it was given, in turn; an exception is raised. Keeps what it was asked."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    @property
    def enabled(self) -> bool:
        return bool(self._answers) or bool(self.asked)

    async def chat(
        self,
        prompt: str,
        *,
        system: str = "",
        schema: dict[str, Any] | None = None,
        **more: Any,
    ) -> ChatAnswer:
        self.asked.append(prompt)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ChatAnswer(text=answer, model="scripted", prompt_tokens=1, completion_tokens=1, finish_reason="stop")


class Bench:
    """A context with files, pages and results that the test names."""

    def __init__(
        self,
        *,
        model: Model | None = None,
        files: Mapping[str, bytes] | None = None,
        pages: Mapping[str, Page | Exception] | None = None,
        results: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
        state: Mapping[str, Any] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.agent_id = AgentId("agent-1")
        self.clock = ManualClock()
        self.llm: Model = model or ScriptedModel()
        caller = Caller(agent=self.agent_id, agent_type="agent", job="job-key")
        self.memory: Memory = memory or local_memory(MemoryLedger(self.clock), caller)
        self.state: Mapping[str, Any] = state or {}
        self._files = files or {}
        self.pages: dict[str, Page | Exception] = dict(pages or {})
        self._results = results or {}
        self.largest_read = 0
        self.questions: list[tuple[str, str, Mapping[str, Any]]] = []
        self.answers: list[Mapping[str, Any] | Exception] = []
        self.reachable = False
        """Whether anybody hears what is told, delivered and published."""
        self.told: list[tuple[str, str, Mapping[str, Any]]] = []
        self.delivered: list[tuple[str, str, Mapping[str, Any]]] = []
        self.published: list[tuple[str, str, Mapping[str, Any]]] = []

    async def results(self, step: int, first: int, end: int) -> Sequence[Mapping[str, Any]]:
        self.largest_read = max(self.largest_read, end - first)
        return self._results[step][first:end]

    async def fetch(self, url: str, *, timeout: float = 10.0, max_bytes: int = 5_000_000) -> Page:
        found = self.pages[url]
        if isinstance(found, Exception):
            raise found
        return found

    async def read_file(self, path: str) -> bytes:
        if path not in self._files:
            raise NotFound(f"There is no {path}.")
        return self._files[path]

    async def list_files(self, path: str) -> Sequence[str]:
        found = sorted(name for name in self._files if name == path or name.startswith(f"{path}/"))
        if not found:
            raise NotFound(f"There is no {path}.")
        return found

    async def ask_type(
        self, agent_type: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        self.questions.append((agent_type, kind, payload))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask(
        self, agent_id: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        raise NotFound(agent_id)

    async def tell(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        self._send(self.told, agent_id, kind, payload)

    async def deliver(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> str:
        self._send(self.delivered, agent_id, kind, payload)
        return str(len(self.delivered))

    async def publish(self, topic: str, kind: str, payload: Mapping[str, Any]) -> None:
        self._send(self.published, topic, kind, payload)

    def _send(self, to: list[tuple[str, str, Mapping[str, Any]]], *said: Any) -> None:
        if not self.reachable:
            raise NotFound(said[0])
        to.append(said)


def as_context(bench: Bench) -> AgentContext:
    return bench


def task(action: str, payload: Mapping[str, Any], **parameters: Any) -> AgentTask:
    return AgentTask(action=action, payload=payload, parameters=parameters)
