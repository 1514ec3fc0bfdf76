"""`ctx.llm`: the language model as one agent has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from colony.clock import Clock
from colony.errors import NotPermitted
from colony.llm.port import (
    NORMAL_PRIORITY,
    CacheUse,
    Caller,
    ChatAnswer,
    ChatMessage,
    ChatRequest,
    LanguageModel,
)
from colony.llm.structured import chat_structured


class Limits(NamedTuple):
    """How long a call may take."""

    longest: float
    """Seconds."""
    deadline: float
    """Monotonic seconds at which the task ends; 0 for never."""


class AgentModel:
    """The language model with the name of one agent, and of the job it works for, on each call.

    Without a model every call is refused. No call outlives its task, when nobody waits for it any more.
    """

    __slots__ = ("_caller", "_clock", "_limits", "_model", "_tier")

    def __init__(self, model: LanguageModel | None, clock: Clock, caller: Caller, tier: str, limits: Limits) -> None:
        """`tier` is that of calls which name none."""
        self._model = model
        self._clock = clock
        self._caller = caller
        self._tier = tier
        self._limits = limits

    @property
    def enabled(self) -> bool:
        """See `agents.base.Model`."""
        return self._model is not None

    async def chat(
        self,
        prompt: str,
        *,
        system: str = "",
        tier: str = "",
        model: str = "",
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        schema: dict[str, Any] | None = None,
        messages: Sequence[ChatMessage] = (),
        cache: CacheUse = "auto",
        priority: int = NORMAL_PRIORITY,
    ) -> ChatAnswer:
        """See `agents.base.Model`."""
        if self._model is None:
            raise NotPermitted("No language model is configured.", remedy="Set model.enabled in agent_config.yaml.")
        first = (ChatMessage(role="system", content=system),) if system else ()
        request = ChatRequest(
            messages=(*first, *messages, ChatMessage(role="user", content=prompt)),
            tier=tier or self._tier,
            model=model,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            json_schema=schema,
            timeout=self._seconds(),
            priority=priority,
            cache=cache,
            caller=self._caller,
        )
        if schema is None:
            return await self._model.chat(request)
        return await chat_structured(self._model, request, self._clock)

    def _seconds(self) -> float:
        longest, deadline = self._limits
        return max(0.001, min(longest, deadline - self._clock.monotonic())) if deadline else longest
