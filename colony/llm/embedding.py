"""Embeddings in the OpenAI format: the port, requests to JSON, JSON to vectors. Pure."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colony.contracts import Frozen
from colony.errors import Unavailable
from colony.llm.port import NORMAL_PRIORITY, CacheUse, Caller


class EmbedRequest(Frozen):
    """Texts to be turned into vectors."""

    texts: tuple[str, ...] = Field(min_length=1)
    model: str = ""
    """Empty for what the tier says."""
    tier: str = "fast"
    timeout: float = Field(default=60.0, gt=0)
    """Seconds until nobody waits for the answer any more."""
    priority: int = Field(default=NORMAL_PRIORITY, ge=1, le=5)
    cache: CacheUse = "auto"
    caller: Caller = Caller()


class Embeddings(Frozen):
    """A vector for each text, in order, as the model gave them."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    prompt_tokens: int


class EmbeddingModel(Protocol):
    """Turns texts into vectors. Raises as `colony.llm.port.LanguageModel`."""

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """All vectors in one call. No retry inside."""
        ...


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Entry(_Lenient):
    index: int
    embedding: tuple[float, ...] = Field(min_length=1)


class _Usage(_Lenient):
    prompt_tokens: int = 0


class _List(_Lenient):
    data: tuple[_Entry, ...]
    model: str = ""
    usage: _Usage | None = None


def encode_embed(request: EmbedRequest, model: str) -> bytes:
    """The body of `POST /v1/embeddings`."""
    body: dict[str, Any] = {"model": model, "input": list(request.texts), "encoding_format": "float"}
    return orjson.dumps(body)


def decode_embed(request: EmbedRequest, body: bytes) -> Embeddings:
    """The vectors in a body of status 200. Raises `Unavailable` when they are not one for each text, of one length."""
    try:
        found = _List.model_validate_json(body)
    except ValidationError:
        raise Unavailable("The model server answered with something that is no list of embeddings.") from None
    ordered = {entry.index: entry.embedding for entry in found.data}
    if len(found.data) != len(request.texts) or set(ordered) != set(range(len(request.texts))):
        raise Unavailable(f"The model server gave {len(found.data)} embeddings for {len(request.texts)} texts.")
    if len({len(vector) for vector in ordered.values()}) != 1:
        raise Unavailable("The model server gave embeddings of different lengths.")
    return Embeddings(
        vectors=tuple(ordered[index] for index in range(len(request.texts))),
        model=found.model,
        prompt_tokens=(found.usage or _Usage()).prompt_tokens,
    )
