"""What an agent may use in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from agents.base import Memory, Model, Page
from colony.clock import Clock
from colony.data_files import list_below, read_below
from colony.errors import DeadlineExceeded, NotPermitted
from colony.ids import AgentId, AgentType
from colony.ledger.port import Ledger
from colony.llm.port import Caller
from colony.memory.agent_memory import local_memory
from workflows.local_model import NoModel

Answer = Callable[[AgentType, str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Has any agent of a type answer a message."""


class LocalContext:
    """What an agent may use in process: results of earlier steps, its state, time. See `agents.base.AgentContext`."""

    def __init__(
        self,
        ledger: Ledger,
        job: int,
        agent_id: AgentId,
        state: Mapping[str, Any],
        clock: Clock,
        *,
        roots: Sequence[Path] = (),
        model: Model | None = None,
        caller: Caller | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Without `roots` no file is readable, without `model` there is none; `caller` is whose memory it opens.

        `answer` answers questions to any agent of a type; without it they are refused like all other messages.
        """
        self._answer = answer
        self._caller = caller or Caller(agent=agent_id)
        self._ledger = ledger
        self._roots = tuple(roots)
        self._job = job
        self._agent_id = agent_id
        self._state = state
        self._clock = clock
        self._model: Model = NoModel() if model is None else model

    @property
    def agent_id(self) -> AgentId:
        """See `AgentContext`."""
        return self._agent_id

    @property
    def clock(self) -> Clock:
        """See `AgentContext`."""
        return self._clock

    @property
    def llm(self) -> Model:
        """See `AgentContext`."""
        return self._model

    @property
    def memory(self) -> Memory:
        """See `AgentContext`."""
        return local_memory(self._ledger, self._caller)

    @property
    def state(self) -> Mapping[str, Any]:
        """See `AgentContext`."""
        return self._state

    async def results(self, step: int, first: int, end: int) -> Sequence[Mapping[str, Any]]:
        """See `AgentContext`."""
        return [orjson.loads(result) for _, result in await self._ledger.results(self._job, step, first, end)]

    async def fetch(self, url: str, *, timeout: float = 10.0, max_bytes: int = 5_000_000) -> Page:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There is no network here.")

    async def read_file(self, path: str) -> bytes:
        """See `AgentContext`."""
        return await asyncio.to_thread(read_below, path, self._roots)

    async def list_files(self, path: str) -> Sequence[str]:
        """See `AgentContext`."""
        return await asyncio.to_thread(list_below, path, self._roots)

    async def ask(
        self, agent_id: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There are no messages here.")

    async def ask_type(
        self, agent_type: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """Answered in this process, where it may be; else refused: `NotPermitted`."""
        if self._answer is None:
            raise NotPermitted("There are no messages here.")
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(AgentType(agent_type), kind, payload)
        except TimeoutError as error:
            raise DeadlineExceeded(f"No agent of type {agent_type} answered within {timeout:g} s.") from error

    async def tell(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There are no messages here.")

    async def deliver(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> str:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There are no messages here.")

    async def publish(self, topic: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There are no messages here.")
