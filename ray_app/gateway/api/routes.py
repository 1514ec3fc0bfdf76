"""Which path asks for what. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from colony.clock import Clock
from ray_app.gateway.api import ollama_requests, openai_requests
from ray_app.gateway.api.wanted import Wanted

Parse = Callable[[dict[str, Any], Clock], Wanted]

_PARSERS: Final[dict[str, Parse]] = {
    "/v1/chat/completions": lambda body, _: openai_requests.chat(body),
    "/v1/completions": lambda body, _: openai_requests.completion(body),
    "/v1/embeddings": lambda body, _: openai_requests.embedding(body),
    "/v1/classify": lambda body, _: openai_requests.classification(body),
    "/api/chat": ollama_requests.chat,
    "/api/generate": ollama_requests.generate,
    "/api/embed": ollama_requests.embed,
    "/api/embeddings": ollama_requests.embeddings,
}

_CHANGING: Final = frozenset({"/api/pull", "/api/push", "/api/create", "/api/delete", "/api/copy"})


def parser_of(path: str) -> Parse | None:
    """What reads the body sent to `path`; None where no model is asked."""
    return _PARSERS.get(path)


def is_changing(path: str) -> bool:
    """Whether the path would change which models there are."""
    return path in _CHANGING or path.startswith("/api/blobs")
