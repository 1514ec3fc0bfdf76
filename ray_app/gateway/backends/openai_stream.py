"""A streamed answer of OpenAI's API: from bytes to pieces, the last one with the counters. Pure."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson

from colony.errors import Unavailable
from ray_app.gateway.backends.openai_shape import Refused, are_counters, check_prompt, guessed_usage
from ray_app.gateway.backends.sse import EventParser
from ray_app.gateway.contracts import BackendCall, Chunk

_DONE: Final = b"[DONE]"


class Pieces:
    """Reads one stream."""

    def __init__(self, call: BackendCall, *, answers_a_prompt: int = 0) -> None:
        """`answers_a_prompt`: for servers that count every choice for itself, how many share one prompt."""
        self._call = call
        self._answers_a_prompt = answers_a_prompt
        self._events = EventParser()
        self._open: set[int] = set()
        """Choices that have begun and not finished."""
        self._last: Chunk = {}
        self._usage: dict[str, Any] | None = None
        self._pieces = 0
        self.done = False
        """Whether the server said that the answer is over."""

    def feed(self, data: bytes) -> list[Chunk]:
        """The pieces that end in `data`. Raises `Unavailable` for what is none, `Refused` for an error among them."""
        return self._read(self._events.feed(data))

    def finish(self) -> list[Chunk]:
        """The connection has ended: what is left. Raises `Unavailable` when the answer is not over."""
        found = self._read(self._events.finish())
        if not self._last or (not self.done and self._open):
            raise Unavailable("The model server broke off in the middle of its answer.")
        self.done = True
        return found

    def last(self) -> Chunk:
        """The piece with the counters; after `done`. Raises `TruncatedAnswer`, or `Unavailable` if nothing came."""
        if not self._last:
            raise Unavailable("The model server ended its answer before it began.")
        usage = self._usage or guessed_usage(self._call, self._pieces)
        check_prompt(self._call, usage)
        return {**self._last, "choices": [], "usage": usage}

    def _read(self, events: list[bytes]) -> list[Chunk]:
        found: list[Chunk] = []
        for event in events:
            if self.done:
                break
            if event == _DONE:
                self.done = True
            elif event and event != b"null":  # llama.cpp begins lists of prompts so
                piece = self._piece(event)
                if piece is not None:
                    found.append(piece)
        return found

    def _piece(self, event: bytes) -> Chunk | None:
        try:
            value = orjson.loads(event)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise Unavailable("The model server broke off within a piece of its answer, or sent what is none.")
        piece = cast("Chunk", value)
        if piece.get("error"):
            raise Refused(piece["error"])
        usage = piece.pop("usage", None)
        if usage:
            self._count(usage)
        self._last = piece
        choices = piece.get("choices")
        if not choices:
            return None
        try:
            for choice in choices:
                if choice.get("finish_reason"):
                    self._open.discard(choice.get("index", 0))
                else:
                    self._open.add(choice.get("index", 0))
        except (AttributeError, TypeError):
            raise Unavailable("The model server sent a piece in no shape of ours.") from None
        self._pieces += len(choices)
        return piece

    def _count(self, usage: Any) -> None:
        if not are_counters(usage):
            raise Unavailable("The model server sent counters in no shape of ours.")
        said = cast("dict[str, Any]", usage)
        if self._usage is None or not self._answers_a_prompt:
            # Copied: both are read again when the next choice is counted.
            self._usage = dict(said)
            self._prompts = int(said.get("prompt_tokens") or 0)
            return
        self._prompts += int(said.get("prompt_tokens") or 0)
        prompt = self._prompts // self._answers_a_prompt or self._prompts
        made = int(self._usage.get("completion_tokens") or 0) + int(said.get("completion_tokens") or 0)
        self._usage |= {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
