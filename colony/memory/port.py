"""From texts to vectors, as a port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from colony.llm.port import Caller
from colony.memory.contracts import Vector


class Embedder(Protocol):
    """Turns texts into vectors of length 1, near each other where the texts speak of the same."""

    @property
    def name(self) -> str:
        """Kept with every vector: those of different embedders are never compared."""
        ...

    async def embed(self, texts: Sequence[str], caller: Caller, timeout: float) -> list[Vector]:
        """A vector for each text, in order, all of one dimension; within `timeout` seconds.

        Raises `DeadlineExceeded` and, where a model does it, as `colony.llm.port.LanguageModel`.
        """
        ...
