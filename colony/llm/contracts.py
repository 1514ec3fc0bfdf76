"""The books on language models, as the ledger keeps them. Pure data."""

from __future__ import annotations

from typing import NamedTuple


class LlmCall(NamedTuple):
    """One request to the gateway; none of its text. Request id and end are its identity: kept twice it counts once."""

    request_id: str
    ended_at: float
    """Wall-clock seconds, to the microsecond."""
    agent: str
    """Agent id, or what an outside client calls itself."""
    agent_type: str
    job: str
    """Key of the job; empty for none."""
    kind: str
    """`chat`, `completion` or `embedding`."""
    backend: str
    """Empty when no backend was called."""
    model: str
    tier: str
    prompt_tokens: int
    completion_tokens: int
    queued: float
    """Seconds it waited for a slot."""
    first: float
    """Seconds from the call to its first piece."""
    seconds: float
    cache: str
    """`hit`, `shared` (joined one under way) or `miss`."""
    outcome: str
    """`ok`, `cancelled`, or the name of an error class."""


class ModelUse(NamedTuple):
    """What one model did for a job in one tier."""

    backend: str
    model: str
    tier: str
    calls: int
    failed: int
    """Calls that ended neither well nor by their caller's leaving."""
    cached: int
    """Answered without a call of their own."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class JobBudget(NamedTuple):
    """A job as its budget sees it."""

    job: str
    parent: str
    """Key of the job that started it; empty for none."""
    tokens: int | None
    """The budget set for it; None for none of its own."""
    used: int
    """Tokens used by it and all it started."""


class CachedAnswer(NamedTuple):
    """An answer kept for equal requests."""

    key: bytes
    """SHA-256 of the canonical request."""
    answer: bytes
    model: str
    prompt_tokens: int
    completion_tokens: int
    age: float = 0.0
    """Seconds since it was put, by the clock of the ledger."""
