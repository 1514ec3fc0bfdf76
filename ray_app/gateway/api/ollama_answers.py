"""Answers in Ollama's words: whole, as lines of JSON, errors, lists of models. Pure but for the clock it is given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from colony.clock import Clock
from ray_app.gateway.api.problems import Problem
from ray_app.gateway.contracts import Body, Chunk, Kind, ServedModel

LINES = "application/x-ndjson"


def error_body(problem: Problem) -> Body:
    """The error shape of Ollama's interface."""
    return {"error": problem.message}


class _Measured:
    """Durations in nanoseconds since the request was taken up."""

    def __init__(self, model: str, clock: Clock) -> None:
        self.model = model
        self._clock = clock
        self._start = clock.monotonic()
        self._first: float | None = None

    def now(self) -> str:
        """Wall-clock time as Ollama writes it."""
        return _time(self._clock.wall())

    def note_first(self) -> None:
        """The first piece is here."""
        if self._first is None:
            self._first = self._clock.monotonic()

    def durations(self) -> dict[str, int]:
        """Only what is known: a whole answer does not say how long its prompt took."""
        end = self._clock.monotonic()
        first = self._start if self._first is None else self._first
        return {
            "total_duration": _nanoseconds(end - self._start),
            "load_duration": 0,
            "prompt_eval_duration": _nanoseconds(first - self._start),
            "eval_duration": max(1, _nanoseconds(end - first)),
        }


class TalkRenderer:
    """`/api/chat` (`message`) and `/api/generate` (`response`)."""

    content_type = LINES

    def __init__(self, model: str, clock: Clock, *, chat: bool) -> None:
        self._measured = _Measured(model, clock)
        self._chat = chat
        self._calls: dict[int, dict[str, str]] = {}
        self._usage: dict[str, Any] = {}
        self._reason = "stop"

    def whole(self, body: Body) -> Body:
        """See `Renderer`."""
        choice = body["choices"][0]
        message: dict[str, Any] = choice.get("message") or {"content": choice.get("text")}
        self._usage = body.get("usage") or {}
        self._reason = choice.get("finish_reason") or "stop"
        self._collect(message.get("tool_calls"))
        self._measured.model = self._measured.model or body.get("model", "")
        return self._last(message.get("content") or "", _thinking(message))

    def piece(self, chunk: Chunk) -> bytes:
        """See `Renderer`. Tool calls are kept back until they are whole: Ollama has no pieces of them."""
        self._measured.note_first()
        self._measured.model = self._measured.model or chunk.get("model", "")
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        if not choices:
            return b""
        choice = choices[0]
        delta: dict[str, Any] = choice.get("delta") or {"content": choice.get("text")}
        self._reason = choice.get("finish_reason") or self._reason
        self._collect(delta.get("tool_calls"))
        content, thinking = delta.get("content") or "", _thinking(delta)
        if not content and not thinking:
            return b""
        return _line({**self._head(), **self._said(content, thinking, None), "done": False})

    def end(self) -> bytes:
        """See `Renderer`."""
        return _line(self._last("", ""))

    def failure(self, problem: Problem) -> bytes:
        """See `Renderer`."""
        return _line(error_body(problem))

    def _collect(self, pieces: Any) -> None:
        for position, piece in enumerate(cast("list[dict[str, Any]]", pieces or [])):
            call = self._calls.setdefault(int(piece.get("index", position)), {"name": "", "arguments": ""})
            function: dict[str, Any] = piece.get("function") or {}
            call["name"] += function.get("name") or ""
            call["arguments"] += function.get("arguments") or ""

    def _last(self, content: str, thinking: str) -> Body:
        calls = [{"function": _call(self._calls[index])} for index in sorted(self._calls)]
        reason = self._reason if self._reason in ("stop", "length") else "stop"
        return {
            **self._head(),
            **self._said(content, thinking, calls or None),
            "done": True,
            "done_reason": reason,
            **self._measured.durations(),
            "prompt_eval_count": int(self._usage.get("prompt_tokens") or 0),
            "eval_count": int(self._usage.get("completion_tokens") or 0),
        }

    def _head(self) -> dict[str, Any]:
        return {"model": self._measured.model, "created_at": self._measured.now()}

    def _said(self, content: str, thinking: str, calls: list[dict[str, Any]] | None) -> dict[str, Any]:
        extra = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {"response": content, **extra}
        message: dict[str, Any] = {"role": "assistant", "content": content, **extra}
        if calls:
            message["tool_calls"] = calls
        return {"message": message}


class EmbedRenderer:
    """`/api/embed`, and the older `/api/embeddings`."""

    content_type = LINES

    def __init__(self, model: str, clock: Clock, *, legacy: bool) -> None:
        self._measured = _Measured(model, clock)
        self._legacy = legacy

    def whole(self, body: Body) -> Body:
        """See `Renderer`."""
        vectors = [entry["embedding"] for entry in body["data"]]
        if self._legacy:
            return {"embedding": vectors[0]}
        spent = self._measured.durations()
        usage: dict[str, Any] = body.get("usage") or {}
        return {
            "model": self._measured.model or body.get("model", ""),
            "embeddings": vectors,
            "total_duration": spent["total_duration"],
            "load_duration": 0,
            "prompt_eval_count": int(usage.get("prompt_tokens") or 0),
        }

    def piece(self, chunk: Chunk) -> bytes:
        """See `Renderer`; never called, embeddings do not stream."""
        return _line(chunk)

    def end(self) -> bytes:
        """See `Renderer`."""
        return b""

    def failure(self, problem: Problem) -> bytes:
        """See `Renderer`."""
        return _line(error_body(problem))


def tags_body(models: Sequence[ServedModel], since: float) -> Body:
    """`GET /api/tags`. Sizes and digests are those of servers behind us: not known here."""
    return {"models": [_entry(model, "modified_at", since) for model in models]}


def running_body(models: Sequence[ServedModel], until: float) -> Body:
    """`GET /api/ps`: all that can be asked now."""
    extra = {"size_vram": 0}
    return {"models": [{**_entry(m, "expires_at", until), **extra, "context_length": m.context} for m in models]}


def show_body(model: ServedModel, since: float) -> Body:
    """`POST /api/show`."""
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "license": "",
        "modified_at": _time(since),
        "details": _details(),
        "model_info": {"general.architecture": "colony", "colony.context_length": model.context},
        "capabilities": [
            name for name, kind in (("completion", Kind.CHAT), ("embedding", Kind.EMBEDDING)) if model.serves(kind)
        ],
    }


def _entry(model: ServedModel, moment: str, at: float) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        moment: _time(at),
        "size": 0,
        "digest": "",
        "details": _details(),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _call(call: dict[str, str]) -> dict[str, Any]:
    """Arguments as an object. What the model wrote may be no JSON: then the text itself is handed on."""
    try:
        arguments: Any = orjson.loads(call["arguments"] or "{}")
    except orjson.JSONDecodeError:
        arguments = call["arguments"]
    if not isinstance(arguments, dict):
        arguments = {"arguments": arguments}
    return {"name": call["name"], "arguments": arguments}


def _thinking(message: dict[str, Any]) -> str:
    return message.get("reasoning_content") or message.get("reasoning") or ""


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _line(value: Any) -> bytes:
    return orjson.dumps(value) + b"\n"
