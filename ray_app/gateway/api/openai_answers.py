"""Answers in OpenAI's words: whole, as server-sent events, errors, lists of models. Pure."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from sys import byteorder
from typing import Any

import orjson

from ray_app.gateway.api.problems import Problem
from ray_app.gateway.contracts import Body, Chunk, ServedModel

EVENT_STREAM = "text/event-stream; charset=utf-8"


def error_body(problem: Problem) -> Body:
    """The error shape of OpenAI's interface."""
    return {
        "error": {
            "message": problem.message,
            "type": problem.kind,
            "param": problem.param,
            "code": problem.code,
        }
    }


class _EventRenderer:
    """Server-sent events; usage in a piece of its own at the end, and only if asked for."""

    content_type = EVENT_STREAM
    prefix = ""

    def __init__(self, request_id: str, *, usage: bool) -> None:
        self._id = f"{self.prefix}-{request_id}"
        self._wants_usage = usage
        self._usage: Any = None
        self._last: Chunk = {}

    def whole(self, body: Body) -> Body:
        """See `Renderer`. Every answer has an id of its own, also when it comes from the cache."""
        return {**body, "id": self._id}

    def piece(self, chunk: Chunk) -> bytes:
        """See `Renderer`."""
        out = {**chunk, "id": self._id}
        usage = out.pop("usage", None)
        if usage is not None:
            self._usage = usage
        self._last = out
        if not out.get("choices"):
            return b""
        if self._wants_usage:
            out["usage"] = None
        return _event(out)

    def end(self) -> bytes:
        """See `Renderer`."""
        closing = b"data: [DONE]\n\n"
        if not self._wants_usage or self._usage is None:
            return closing
        return _event({**self._last, "choices": [], "usage": self._usage}) + closing

    def failure(self, problem: Problem) -> bytes:
        """See `Renderer`. No `[DONE]`: the answer is not done."""
        return _event(error_body(problem))


class ChatRenderer(_EventRenderer):
    """`chat.completion` and its chunks."""

    prefix = "chatcmpl"


class TextRenderer(_EventRenderer):
    """`text_completion`, whole or in pieces."""

    prefix = "cmpl"


class _ListRenderer:
    """A list with an entry for each input; never in pieces."""

    content_type = "application/json"

    def piece(self, chunk: Chunk) -> bytes:
        """See `Renderer`; never called, this does not stream."""
        return orjson.dumps(chunk)

    def end(self) -> bytes:
        """See `Renderer`."""
        return b""

    def failure(self, problem: Problem) -> bytes:
        """See `Renderer`."""
        return orjson.dumps(error_body(problem))


class EmbeddingRenderer(_ListRenderer):
    """A list of embeddings, as numbers or packed: base64 of 32 bit floats, little-endian."""

    def __init__(self, *, packed: bool) -> None:
        self._packed = packed

    def whole(self, body: Body) -> Body:
        """See `Renderer`."""
        if not self._packed:
            return body
        return {**body, "data": [{**entry, "embedding": _packed(entry["embedding"])} for entry in body["data"]]}


class ClassificationRenderer(_ListRenderer):
    """A list of labels, as vLLM has it."""

    def __init__(self, request_id: str) -> None:
        self._id = f"classify-{request_id}"

    def whole(self, body: Body) -> Body:
        """See `Renderer`. Every answer has an id of its own, also when it came with others."""
        return {**body, "id": self._id}


def models_body(models: Sequence[ServedModel], created: int) -> Body:
    """`GET /v1/models`."""
    return {"object": "list", "data": [model_body(model, created) for model in models]}


def model_body(model: ServedModel, created: int) -> Body:
    """One entry of it. `max_model_len` is vLLM's name for the context."""
    return {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": "colony",
        "max_model_len": model.context,
    }


def _event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _packed(values: Sequence[float]) -> str:
    floats = array("f", values)
    if byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode("ascii")
