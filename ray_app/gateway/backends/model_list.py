"""The list of models of an OpenAI-compatible server, whatever its dialect. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from colony.errors import Unavailable
from ray_app.gateway.contracts import ServedModel

_EMBEDS: Final = re.compile(r"embed|(^|[/_-])(bge|e5|gte|minilm|sbert)([/_.-]|$)", re.IGNORECASE)


def model_list(body: dict[str, Any], context: int) -> tuple[ServedModel, ...]:
    """The models in a body of `GET /v1/models`; `context` is for those of which the server does not say it.

    Raises `Unavailable` when it is no list of models.
    """
    entries = body.get("data")
    if not isinstance(entries, list):
        raise Unavailable("The model server answered with something that is no list of models.")
    return tuple(_model(entry, context) for entry in cast("list[Any]", entries))


def names_in(body: dict[str, Any]) -> frozenset[str]:
    """Every name of every model in such a body, aliases of llama.cpp included."""
    found: set[str] = set()
    for entry in cast("list[dict[str, Any]]", body.get("data") or []):
        found |= {str(entry.get("id")), *map(str, entry.get("aliases") or ())}
    return frozenset(found)


def seems_to_embed(name: str) -> bool:
    """Whether a model is one for embeddings, judged by its name: OpenAI's API does not say it."""
    return _EMBEDS.search(name) is not None


def _model(entry: Any, context: int) -> ServedModel:
    found = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    name = found.get("id")
    if not isinstance(name, str) or not name:
        raise Unavailable("The model server lists a model without a name.")
    meta = found.get("meta")
    told = (
        found.get("max_model_len"),  # vLLM
        cast("dict[str, Any]", meta).get("n_ctx") if isinstance(meta, dict) else None,  # llama.cpp: of one slot
        found.get("context_length"),  # several hosted ones
    )
    size = next((value for value in told if isinstance(value, int) and value > 0), context)
    return ServedModel(name=name, context=size, embeddings=seems_to_embed(name))
