"""What is remembered, where, and what is found again. Pure data and pure functions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import Field

from colony.contracts import Frozen
from colony.errors import BadInput, Unavailable

MOST_DIMENSIONS: Final = 16_000
"""Longest vector that pgvector keeps."""

MOST_FOUND: Final = 100
"""Most entries of one search."""

MOST_AT_ONCE: Final = 256
"""Most entries of one call."""

Vector = Sequence[float]
"""Of length 1, so that the inner product of two is the cosine of the angle between them."""


class ScopeKind(StrEnum):
    """Who shares a memory."""

    AGENT = "agent"
    """One agent."""
    TYPE = "type"
    """All agents of one type."""
    JOB = "job"
    """All agents in one job; forgotten with the job."""
    SHARED = "shared"
    """All agents."""


class Scope(NamedTuple):
    """A memory: what is added here is found here alone."""

    kind: ScopeKind
    name: str = ""
    """Agent id, agent type or key of the job; empty for the shared one."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The inverse of `str`. Raises `BadInput`."""
        kind, _, name = text.partition(":")
        if kind not in set(ScopeKind) or bool(name) == (kind == ScopeKind.SHARED) or len(name) > 200 or "\0" in name:
            raise BadInput(f"{text[:80]!r} is no scope.", remedy="Scopes are shared, agent:ID, type:NAME and job:KEY.")
        return cls(ScopeKind(kind), name)


class Note(Frozen):
    """Something to be remembered."""

    text: str
    label: str = Field(default="", max_length=64)
    """What it is, such as `passage`: a search may ask for one label only."""
    key: str = Field(default="", max_length=500)
    """Its name in the scope: the same key again takes the place of what was there. Empty: the text is its name."""
    data: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """JSON kept with it."""


class Remembered(Frozen):
    """Something found again."""

    id: str
    scope: str
    text: str
    label: str
    data: Mapping[str, Any]
    agent_id: str
    """Who added it last."""
    added_at: float
    """Wall-clock seconds, by the clock of the ledger."""
    score: float = 0.0
    """Cosine of the angle to what was asked: 1 for the same, about 0 for nothing in common."""


class MemoryRow(NamedTuple):
    """An entry as the ledger takes it."""

    memory: bytes
    """Its id, 16 bytes."""
    label: str
    text: str
    data: bytes
    """A JSON object."""
    agent_id: str
    vector: Vector


class Keep(NamedTuple):
    """How much a scope holds, and what goes first."""

    entries: int
    least_used: bool = True
    """Beyond that, whether what was not used for longest goes, or what was added first."""
    age: float | None = None
    """Seconds since it was added after which an entry is forgotten; None for never."""

    @property
    def most(self) -> int:
        """Entries a scope may have before it is trimmed to `entries`: a twentieth more, so that few calls trim."""
        return self.entries + self.entries // 20


class ScopeSize(NamedTuple):
    """What one embedder's entries in a scope come to."""

    scope: Scope
    embedder: str
    dimensions: int
    entries: int
    characters: int
    newest: float
    """When the last one was added, wall-clock seconds."""


def memory_id(scope: Scope, note: Note) -> bytes:
    """16 bytes made of the scope and the key (the text where there is none), so that adding twice adds once."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (scope.kind, scope.name, "key" if note.key else "text", note.key or note.text):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()


def normalised(values: Sequence[float]) -> list[float]:
    """The vector of length 1 in this direction. Raises `Unavailable` for one that has none: a model's fault."""
    # Scaled first, or squares of very large or very small numbers leave what a float can hold.
    largest = max(map(abs, values), default=0.0)
    if not 0.0 < largest < math.inf or not all(map(math.isfinite, values)) or len(values) > MOST_DIMENSIONS:
        raise Unavailable("The embedding model answered with a vector that has no direction.")
    scaled = [value / largest for value in values]
    length = math.sqrt(sum(value * value for value in scaled))
    return [value / length for value in scaled]
