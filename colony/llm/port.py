"""A language model as a port."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from colony.contracts import Frozen


class ChatMessage(Frozen):
    """One turn."""

    role: str
    content: str


class ChatRequest(Frozen):
    """What to ask a model. `tier` is fast, standard or complex; `model` overrides it."""

    messages: tuple[ChatMessage, ...]
    tier: str = "fast"
    model: str = ""
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    timeout: float = Field(default=60.0, gt=0)


class ChatAnswer(Frozen):
    """What the model said."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


class LanguageModel(Protocol):
    """Raises `ModelRefused` (4xx), `TruncatedAnswer`, `Overloaded` (429, 503), `Unavailable`, `DeadlineExceeded`."""

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """One answer. No retry inside."""
        ...

    async def models(self) -> list[str]:
        """Names of the models served."""
        ...
