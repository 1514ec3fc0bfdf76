"""Probabilities of tokens in a stream, put together for the whole answer. Pure."""

from __future__ import annotations

from typing import Any, cast

from ray_app.gateway.contracts import Body, Chunk


class Logprobs:
    """Collects the `logprobs` of every choice, in the shape of OpenAI's chat: lists by name."""

    def __init__(self) -> None:
        self._found: dict[int, dict[str, Any]] = {}

    def taken(self, piece: Chunk) -> Chunk:
        """The piece without them."""
        for choice in piece["choices"]:
            said = choice.pop("logprobs", None)
            if isinstance(said, dict):
                kept = self._found.setdefault(int(choice.get("index") or 0), {})
                for name, values in cast("dict[str, Any]", said).items():
                    if isinstance(values, list):
                        kept.setdefault(name, []).extend(values)
        return piece

    def given(self, whole: Body) -> Body:
        """The whole answer with them; without any, as it is."""
        for choice in whole["choices"] if self._found else ():
            choice["logprobs"] = self._found.get(choice["index"])
        return whole
