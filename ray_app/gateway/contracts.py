"""The frozen models of the gateway: what is asked, where it may go, how it ended. Pure data."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from colony.contracts import Frozen

HIGH: Final = 1
NORMAL: Final = 3
LOW: Final = 5
"""Priorities by name; 1 is served first, 5 last."""

Chunk = dict[str, Any]
"""One piece of an answer in OpenAI's shape: `chat.completion.chunk`, or a text completion with partial text."""

Body = dict[str, Any]
"""A request or an answer in OpenAI's shape, decoded."""


class Kind(StrEnum):
    """What is asked for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    CLASSIFICATION = "classification"
    """A label for each input, by a model made for it."""

    @property
    def whole(self) -> bool:
        """Whether its answer is no text: it is never streamed, and depends on the input alone."""
        return self in (Kind.EMBEDDING, Kind.CLASSIFICATION)


class CachePolicy(StrEnum):
    """Whether an answer may come from the cache."""

    AUTO = "auto"
    """When the request is deterministic: temperature 0, or a seed."""
    ALWAYS = "always"
    NEVER = "never"


class Caller(Frozen):
    """Who asks. Limits and fairness go by `name`."""

    name: str = "anonymous"
    """Agent id, or what an outside client calls itself."""
    agent_type: str = ""
    job: str = ""
    """Key of the job this serves; empty for none."""
    trace: str = ""
    """W3C `traceparent`; empty for none."""


class Ask(Frozen):
    """One request, checked, in OpenAI's shape whatever API it came in by."""

    request_id: str
    kind: Kind
    caller: Caller
    model: str = ""
    """A model's name; empty for that of the tier."""
    tier: str = ""
    """Empty for the default: that of the caller's agent type, else `fast`."""
    body: Body
    """Without `model`, `stream` and `stream_options`."""
    priority: int = Field(default=NORMAL, ge=HIGH, le=LOW)
    cache: CachePolicy = CachePolicy.AUTO
    seconds: float = Field(default=120.0, gt=0)
    """Time left until the caller gives up, counted from when the request came in."""


class Target(Frozen):
    """A model of a backend."""

    backend: str
    model: str


class Ticket(Frozen):
    """A request as the owner of the queues sees it: no text."""

    request_id: str
    caller: Caller
    kind: Kind
    targets: tuple[Target, ...] = Field(min_length=1)
    """In order of preference."""
    cheaper: tuple[Target, ...] = ()
    """Where it may still go once the budget of its job is spent; empty: nowhere."""
    priority: int = Field(default=NORMAL, ge=HIGH, le=LOW)
    tokens: int = Field(default=0, ge=0)
    """Tokens it may use in all: prompt and the most the answer may have. What quotas and budgets reserve."""
    prefix: int = 0
    """Hash of the start of the prompt: equal starts are kept together; 0 for none."""
    seconds: float = Field(gt=0)
    """Time left until the caller gives up."""
    avoid: tuple[str, ...] = ()
    """Replicas that failed this request already."""
    again: bool = False
    """Whether it was granted before, and did not fit there: it counts once against the rate of its caller."""
    joins: int = 0
    """Inputs it brings to one call with others like it, where the backend takes such calls: they share slots. 0 for one
    that goes alone."""


class Grant(Frozen):
    """Leave to call one replica. Ended by `Owner.release`, whatever happens."""

    request_id: str
    target: Target
    replica: str
    """Name of the replica, `backend/number` from 0."""
    queued: float = 0.0
    """Seconds it waited."""


class Ended(Frozen):
    """How a granted call ended."""

    request_id: str
    outcome: str
    """`ok`, `cancelled` (the caller went away), or the name of an error class."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first: float = 0.0
    """Seconds from the call to its first piece."""
    seconds: float = 0.0
    """Seconds the call took."""
    retry_after: float = 0.0
    """Seconds for which the backend asked to be left alone; 0 for not at all."""


class ServedModel(Frozen):
    """A model as a backend offers it."""

    name: str
    context: int
    """Tokens of prompt and answer together."""
    embeddings: bool = False
    """Whether it embeds instead of chatting."""
    embeds: int = Field(default=0, ge=0)
    """Tokens of one input it can embed besides chatting; 0 when it only chats."""

    def serves(self, kind: Kind) -> bool:
        """Whether it does what is asked for."""
        return self.embeddings or self.embeds > 0 if kind is Kind.EMBEDDING else not self.embeddings

    def length(self, kind: Kind) -> int:
        """Tokens that fit: of one input to embed, or of prompt and answer together."""
        return self.embeds if kind is Kind.EMBEDDING and self.embeds else self.context


class PromptSize(Frozen):
    """Tokens of a prompt, template included."""

    tokens: int
    exact: bool
    """False: the fewest it can be."""


class BackendLoad(Frozen):
    """What a server says of itself; shown, and used to tell apart replicas that others use too."""

    running: int
    waiting: int = 0


class BackendCall(Frozen):
    """One call of a model server."""

    kind: Kind
    model: str
    body: Body
    """OpenAI's shape without `model` and `stream`."""
    seconds: float = Field(gt=0)
    trace: str = ""
    """W3C `traceparent` to send along; empty for none."""


class CallRecord(Frozen):
    """One request for the books: metrics at once, the ledger in batches. Holds no text."""

    request_id: str
    caller: Caller
    kind: Kind
    backend: str = ""
    """Empty when no backend was called."""
    model: str = ""
    tier: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queued: float = 0.0
    first: float = 0.0
    seconds: float = 0.0
    cache: str = "miss"
    """`hit`, `shared` (joined one under way) or `miss`."""
    outcome: str = "ok"
    at: float = 0.0
    """Wall-clock seconds when it ended."""


class Answered(Frozen):
    """A whole answer and where it came from."""

    body: Body
    record: CallRecord
