"""A language model as a port."""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol

from pydantic import Field

from colony.contracts import Frozen

NORMAL_PRIORITY: Final = 3
"""1 is served first, 5 last."""

CacheUse = Literal["auto", "always", "never"]
"""Whether an answer may come from a cache: `auto` where it is the same each time (temperature 0, or a seed)."""


class ChatMessage(Frozen):
    """One turn."""

    role: str
    content: str


class Caller(Frozen):
    """For whom a call is made: limits, budgets and books go by it."""

    agent: str = ""
    """Agent id; empty for a person or a program outside the fleet."""
    agent_type: str = ""
    job: str = ""
    """Key of the job; empty for none."""
    trace: str = ""
    """W3C `traceparent`; empty for none."""


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
    """Seconds until nobody waits for the answer any more."""
    priority: int = Field(default=NORMAL_PRIORITY, ge=1, le=5)
    cache: CacheUse = "auto"
    caller: Caller = Caller()


class ChatAnswer(Frozen):
    """What the model said."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    calls: int = 1
    """Calls it took: 2 when the first answer had to be repaired. Token counts are of all of them."""
    data: Any = None
    """The value in an answer that was asked for with a schema; it fits the schema."""
    backend: str = ""
    """Which backend of the gateway answered; empty where nobody says it."""
    cache: str = ""
    """`hit`, `shared` or `miss`; empty where nobody says it."""


class LanguageModel(Protocol):
    """Answers chats.

    Raises `ModelRefused` (4xx; `PromptTooLong`), `TruncatedAnswer`, `BudgetSpent`, `NotPermitted`, `Overloaded` (429,
    or a 503 that says when to come back; with `retry_after` where it is known), `Unavailable`, `DeadlineExceeded`.
    """

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """One answer. No retry inside."""
        ...

    async def models(self) -> list[str]:
        """Names of the models served."""
        ...
