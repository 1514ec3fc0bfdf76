"""A whole answer as the pieces a stream would have had. Pure; the other way round is `assembly`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ray_app.gateway.contracts import Body, Chunk


def replayed(body: Body) -> Iterator[Chunk]:
    """The pieces of a whole chat or text answer: for each choice its content and its end, then one with the usage.

    A text comes in one piece: nobody waits for it to be written.
    """
    if body.get("object") == "text_completion":
        yield from _texts(body)
    else:
        yield from _messages(body)
    yield {**_head(body), "choices": [], "usage": body.get("usage") or {}}


def _head(body: Body) -> Chunk:
    name = "text_completion" if body.get("object") == "text_completion" else "chat.completion.chunk"
    said: Chunk = {
        "id": body.get("id", ""),
        "object": name,
        "created": body.get("created", 0),
        "model": body.get("model", ""),
    }
    if "system_fingerprint" in body:
        said["system_fingerprint"] = body["system_fingerprint"]
    return said


def _choices(body: Body) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, choice in enumerate(body.get("choices") or ()):
        yield int(choice.get("index", number)), choice


def _texts(body: Body) -> Iterator[Chunk]:
    for index, choice in _choices(body):
        piece: dict[str, Any] = {"index": index, "text": choice.get("text") or "", "finish_reason": None}
        if choice.get("logprobs"):
            piece["logprobs"] = choice["logprobs"]
        yield {**_head(body), "choices": [piece]}
        yield _end(body, index, choice, {"text": ""})


def _messages(body: Body) -> Iterator[Chunk]:
    for index, choice in _choices(body):
        message = dict(cast("dict[str, Any]", choice.get("message") or {}))
        calls = message.pop("tool_calls", None)
        message["role"] = message.get("role") or "assistant"
        if calls:
            message["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
        piece: dict[str, Any] = {"index": index, "delta": message, "finish_reason": None}
        if choice.get("logprobs"):
            piece["logprobs"] = choice["logprobs"]
        yield {**_head(body), "choices": [piece]}
        yield _end(body, index, choice, {"delta": {}})


def _end(body: Body, index: int, choice: dict[str, Any], empty: dict[str, Any]) -> Chunk:
    reason = choice.get("finish_reason") or "stop"
    return {**_head(body), "choices": [{"index": index, **empty, "finish_reason": reason}]}
