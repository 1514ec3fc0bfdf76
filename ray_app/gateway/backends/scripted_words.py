"""Answers of the scripted backend in OpenAI's shape. A token is a word. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ray_app.gateway.contracts import BackendCall, Body, Chunk, Kind
from ray_app.gateway.sizes import answer_tokens

WIDTH: Final = 8
"""Numbers of an embedding."""

LABELS: Final = ("negative", "positive")

_WORD: Final = re.compile(r"\s*\S+")


def words_of(text: str) -> list[str]:
    """The tokens of a text; white space belongs to the word behind it."""
    return _WORD.findall(text)


def prompts(kind: Kind, body: Body) -> list[str]:
    """The prompts of a request: one for a chat, one for each text of a list."""
    if kind is Kind.CHAT:
        messages = cast("list[dict[str, Any]]", body.get("messages") or [])
        return [" ".join(_text(message.get("content")) for message in messages)]
    given = body.get("prompt" if kind is Kind.COMPLETION else "input")
    return [_text(one) for one in (cast("list[Any]", given) if isinstance(given, list) else [given])]


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """One choice."""

    text: str
    finish: str
    """`stop` or `length`."""

    @classmethod
    def of(cls, call: BackendCall, text: str) -> ScriptedAnswer:
        """`text` as far as the request lets it go."""
        if call.kind is Kind.CHAT and not text:
            text = "ok"
        stop = call.body.get("stop")
        for end in cast("list[str]", stop) if isinstance(stop, list) else [stop] if isinstance(stop, str) else []:
            text = text.partition(end)[0]
        words, most = words_of(text), answer_tokens(call.body)
        if most is None or len(words) <= most:
            return cls(text, "stop")
        return cls("".join(words[:most]), "length")

    def choice(self, call: BackendCall, index: int) -> dict[str, Any]:
        """As part of a whole answer."""
        if call.kind is Kind.CHAT:
            message = {"role": "assistant", "content": self.text}
            return {"index": index, "message": message, "finish_reason": self.finish}
        return {"index": index, "text": self.text, "logprobs": None, "finish_reason": self.finish}

    def pieces(self, call: BackendCall, index: int) -> Iterator[Chunk]:
        """As pieces of a stream, one for each word and one for the end."""
        for number, word in enumerate(words_of(self.text)):
            yield self._piece(call, index, word, None, first=not number)
        yield self._piece(call, index, "", self.finish, first=not self.text)

    def piece_name(self, call: BackendCall) -> str:
        """What OpenAI calls a piece of it."""
        return "chat.completion.chunk" if call.kind is Kind.CHAT else "text_completion"

    def _piece(self, call: BackendCall, index: int, word: str, finish: str | None, *, first: bool) -> Chunk:
        choice: dict[str, Any] = {"index": index, "finish_reason": finish}
        if call.kind is Kind.CHAT:
            choice["delta"] = {"role": "assistant", "content": word} if first else {"content": word} if word else {}
        else:
            choice["text"] = word
        return {**_head(call), "object": self.piece_name(call), "choices": [choice]}


def whole(call: BackendCall, said: Sequence[ScriptedAnswer]) -> Body:
    """The whole answer."""
    read = sum(len(words_of(text)) for text in prompts(call.kind, call.body))
    made = sum(len(words_of(one.text)) for one in said)
    return {
        **_head(call),
        "object": "chat.completion" if call.kind is Kind.CHAT else "text_completion",
        "choices": [one.choice(call, index) for index, one in enumerate(said)],
        "usage": {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made},
    }


def embeddings(call: BackendCall) -> Body:
    """One vector for each input: equal inputs, equal vectors."""
    texts = prompts(call.kind, call.body)
    read = sum(len(words_of(text)) for text in texts)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, int(call.body.get("dimensions") or WIDTH))}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "model": call.model, "data": data, "usage": usage}


def classes(call: BackendCall) -> Body:
    """A label for each input, as vLLM says it: equal inputs, equal labels."""
    texts = prompts(call.kind, call.body)
    read = sum(len(words_of(text)) for text in texts)
    usage = {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read}
    data = [_class(text, index) for index, text in enumerate(texts)]
    return {"id": "scripted", "object": "list", "created": 0, "model": call.model, "data": data, "usage": usage}


def _class(text: str, index: int) -> dict[str, Any]:
    share = zlib.crc32(text.encode()) / 2**32
    probabilities = [1 - share, share]
    label = LABELS[probabilities.index(max(probabilities))]
    return {"index": index, "label": label, "probs": probabilities, "num_classes": len(LABELS)}


def _vector(text: str, width: int) -> list[float]:
    numbers = [zlib.crc32(f"{place} {text}".encode()) / 2**31 - 1 for place in range(width)]
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    return [number / length for number in numbers]


def _head(call: BackendCall) -> Body:
    return {"id": "scripted", "created": 0, "model": call.model}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = cast("list[Any]", value)
        return " ".join(_text(cast("dict[str, Any]", part).get("text")) for part in parts if isinstance(part, dict))
    return ""
