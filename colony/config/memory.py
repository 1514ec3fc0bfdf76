"""The `memory` section of `agent_config.yaml`: what agents may remember. Pure data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colony.config.section import Section


class MemoryConfig(Section):
    """What agents remember, in the Postgres of the ledger (with pgvector)."""

    enabled: bool = True
    """Whether agents have a memory at all. Without it every skill takes its way that needs none."""
    embedder: Literal["auto", "hashing"] = "auto"
    """`auto`: a model where one for embeddings is configured, else hashing of words. `hashing`: never a model."""
    model: str = ""
    """Model for embeddings, as the gateway knows it; empty for the first of the embedded pool made for that."""
    dimensions: int = Field(default=256, ge=32, le=4096)
    """Length of the hashing embedder's vectors. Entries of another length are not found any more."""
    max_text: int = Field(default=8_000, ge=1, le=100_000)
    """Characters of one entry; a longer one is refused."""
    max_entries: int = Field(default=5_000, ge=1, le=1_000_000)
    """Entries of one scope: an agent, a type, a job, or the shared one."""
    forget: Literal["least_used", "oldest"] = "least_used"
    """What goes when a scope is full: what was not found for longest, or what was added first."""
    keep_days: float = Field(default=90.0, ge=0)
    """Days until an entry is forgotten; adding it again counts anew. 0 keeps it for ever. Those of a job go with it."""
