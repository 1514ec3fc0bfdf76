"""The seams of the gateway: who answers, who grants, who keeps. Each has tests that all its adapters pass."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ray_app.gateway.contracts import (
    Answered,
    Ask,
    BackendCall,
    BackendLoad,
    Body,
    CallRecord,
    Chunk,
    Ended,
    Grant,
    Kind,
    PromptSize,
    ServedModel,
    Ticket,
)


class Backend(Protocol):
    """One replica: a model server. No retry inside.

    All calls raise `ModelRefused` (its 4xx), `Overloaded` (429, or a 503 that says when to come back), `Unavailable`
    (`Unreachable`: it never had the call), `DeadlineExceeded`, `TruncatedAnswer`, `NotPermitted` (it refused our
    credentials). Cancelling a call, or closing a stream, closes the connection, so that the server stops working on it.
    """

    @property
    def name(self) -> str:
        """`backend/number`."""
        ...

    async def answer(self, call: BackendCall) -> Body:
        """The whole answer in OpenAI's shape, `usage` included."""
        ...

    def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """Pieces in OpenAI's shape, the last one with `usage`. A stream that breaks off raises `Unavailable`."""
        ...

    async def models(self) -> tuple[ServedModel, ...]:
        """What it serves."""
        ...

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """Tokens of the prompt, counted by the server where it can."""
        ...

    async def check(self, model: str) -> None:
        """A real call of one token; returns when it works."""
        ...

    async def load(self) -> BackendLoad | None:
        """What the server says of its load; None where it says nothing."""
        ...

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """Pull the model where the server can, and load it. `progress` gets what is done and the share, 0 to 1."""
        ...


class Owner(Protocol):
    """Holds queues, slots, breakers, quotas and budgets: one for the whole cluster.

    Every request that misses the cache asks it for leave, and tells it the end.
    """

    async def acquire(self, ticket: Ticket) -> Grant:
        """Wait for a slot, in the order of priority, age and fairness.

        Raises at once: `Overloaded` (queue full, rate of the caller, quota out of reach; with `retry_after`),
        `BudgetSpent`, `Unavailable` (every target's breaker is open). Raises `DeadlineExceeded` when the time of the
        ticket is up. Cancelling the await takes it out of the queue.
        """
        ...

    async def release(self, ended: Ended) -> None:
        """The call of a grant is over. Unknown ids are ignored."""
        ...

    async def state(self) -> dict[str, Any]:
        """Queues, slots, breakers, quotas: for `colony llm`."""
        ...

    async def why(self, request_id: str) -> dict[str, Any]:
        """What a request waits for, since when, and what would free it. Raises `NotFound`."""
        ...

    async def drain(self, replica: str, on: bool) -> None:
        """Give a replica no new calls (`on`), or calls again. Those under way go on. Raises `NotFound`."""
        ...


class UsageSink(Protocol):
    """Where records go."""

    def record(self, call: CallRecord) -> None:
        """Note it. Never blocks, never raises; drops the oldest when it falls behind, and counts what it dropped."""
        ...


class Streamed(NamedTuple):
    """A stream that has begun, and what is known of it before its first piece."""

    pieces: AsyncGenerator[Chunk]
    """Closing it frees the slot."""
    backend: str
    """Who answers; empty for an answer from the cache, or one shared with a request under way."""
    cache: str
    """`hit`, `shared` or `miss`."""


class Gate(Protocol):
    """The way of a request, behind every API the gateway speaks.

    Raises `BadInput` and `ModelRefused` (400; `NotFound`: 404), `NotPermitted` (401/403), `Overloaded` (429, with
    `retry_after`), `BudgetSpent` (429), `Unavailable` (503), `DeadlineExceeded` (504), `TruncatedAnswer` (502).
    """

    async def answer(self, ask: Ask) -> Answered:
        """The whole answer. Cancelling frees the slot."""
        ...

    async def open(self, ask: Ask) -> Streamed:
        """Start a stream: returns when its first piece is there, so that errors before it have a status of their own.

        An error after the first piece is raised from its `pieces`.
        """
        ...

    async def models(self) -> Sequence[ServedModel]:
        """All models of all backends, and the tiers that have one, by name."""
        ...

    async def state(self) -> dict[str, Any]:
        """All that `colony llm` shows."""
        ...

    async def why(self, request_id: str) -> dict[str, Any]:
        """See `Owner.why`."""
        ...

    async def drain(self, replica: str, on: bool) -> None:
        """See `Owner.drain`."""
        ...
