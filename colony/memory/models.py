"""Embeddings by a model, through the gateway; and which embedder a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colony.config.model import Config
from colony.errors import Unavailable
from colony.llm.embedding import EmbeddingModel, EmbedRequest
from colony.llm.port import Caller
from colony.memory.contracts import Vector, normalised
from colony.memory.hashing import HashingEmbedder
from colony.memory.port import Embedder

_BATCH: Final = 32
"""Texts of one call; the gateway makes its own batches of them."""


class ModelEmbedder:
    """See `Embedder`."""

    def __init__(self, model: EmbeddingModel, name: str) -> None:
        """`name` is that of the model, as the gateway knows it."""
        self._model = model
        self._wanted = name

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return f"model:{self._wanted}"

    async def embed(self, texts: Sequence[str], caller: Caller, timeout: float) -> list[Vector]:
        """See `Embedder`; `timeout` is for each call of the model."""
        found: list[Vector] = []
        for at in range(0, len(texts), _BATCH):
            batch = tuple(texts[at : at + _BATCH])
            request = EmbedRequest(texts=batch, model=self._wanted, timeout=timeout, caller=caller)
            found += [normalised(vector) for vector in (await self._model.embed(request)).vectors]
        if len({len(vector) for vector in found}) > 1:
            raise Unavailable("The embedding model changed the length of its vectors.")
        return found


def embedding_model(config: Config) -> str:
    """Name of the model that embeds for agents; empty for the hashing embedder. Pure.

    That named in `memory.model`, else the first model of the embedded pool that is made for embeddings.
    """
    if config.memory.embedder == "hashing":
        return ""
    pool = config.gateway.pool.models if config.model.enabled or config.gateway.backends else {}
    return config.memory.model or next((name for name, model in pool.items() if model.embeddings), "")


def embedder_of(config: Config, model: EmbeddingModel | None) -> Embedder:
    """The embedder of a configuration: `model` where it asks for one and there is one."""
    name = embedding_model(config)
    return ModelEmbedder(model, name) if name and model is not None else HashingEmbedder(config.memory.dimensions)
