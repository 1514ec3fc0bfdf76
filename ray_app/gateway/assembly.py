"""Pieces of a streamed answer put together to the whole one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ray_app.gateway.contracts import Body, Chunk

Counted = Callable[[str | None], str]
"""Counts a text and hands it back; empty once there is too much."""


class Assembly:
    """Collects the pieces of one answer. Keeps at most `most_bytes` of text: what is larger is no answer to keep."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._head: Chunk = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None

    @property
    def usage(self) -> dict[str, Any]:
        """The counters so far; empty until the server sent them."""
        return self._usage or {}

    def add(self, chunk: Chunk) -> None:
        """Take one piece."""
        if not self._head:
            self._head = chunk
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        for piece in chunk.get("choices") or ():
            self._add_choice(piece)

    def whole(self) -> Body | None:
        """The whole answer; None when it is unfinished, or too large to keep."""
        finished = bool(self._choices) and all(choice.get("finish_reason") for choice in self._choices.values())
        if self._left < 0 or not finished:
            return None
        kind = str(self._head.get("object", "")).removesuffix(".chunk")
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {
            "id": self._head.get("id", ""),
            "object": kind,
            "created": self._head.get("created", 0),
            "model": self._head.get("model", ""),
            "choices": choices,
            "usage": self.usage,
        }

    def _add_choice(self, piece: dict[str, Any]) -> None:
        index = int(piece.get("index") or 0)
        choice = self._choices.setdefault(index, {"index": index, "finish_reason": None})
        if piece.get("finish_reason"):
            choice["finish_reason"] = piece["finish_reason"]
        if piece.get("logprobs"):
            self._left = -1  # the pieces of several choices are seldom wanted twice: not kept
        if "text" in piece:
            choice["text"] = choice.get("text", "") + self._counted(piece["text"])
        delta = piece.get("delta")
        if delta is not None:
            _join(choice.setdefault("message", {"role": "assistant", "content": None}), delta, self._counted)

    def _counted(self, text: str | None) -> str:
        text = text or ""
        self._left -= len(text)
        return text if self._left >= 0 else ""


def _join(message: dict[str, Any], delta: dict[str, Any], counted: Counted) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _join_tools(message.setdefault("tool_calls", []), value or [], counted)
        elif name == "role":
            message["role"] = value or message.get("role")
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + counted(value)


def _join_tools(calls: list[dict[str, Any]], pieces: list[dict[str, Any]], counted: Counted) -> None:
    """Tool calls come in pieces by `index`: name first, arguments bit by bit."""
    for piece in pieces:
        index = int(piece.get("index") or 0)
        while len(calls) <= index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[index]
        call["id"] = piece.get("id") or call["id"]
        function = cast("dict[str, Any]", piece.get("function") or {})
        call["function"]["name"] += counted(function.get("name"))
        call["function"]["arguments"] += counted(function.get("arguments"))
