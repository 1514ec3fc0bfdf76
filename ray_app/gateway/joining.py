"""Several small requests as one call, and its answer taken apart again: embeddings and lists of prompts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import orjson

from ray_app.gateway.contracts import BackendCall, Body, Kind

_INPUTS: Final = {Kind.EMBEDDING: "input", Kind.COMPLETION: "prompt"}
_ALONE: Final = ("n", "best_of", "echo", "logprobs", "seed")
"""What makes an answer depend on its place among others, or more than one for each prompt."""


def join_key(call: BackendCall) -> bytes | None:
    """Calls of equal key may be joined; None for one that goes alone."""
    name = _INPUTS.get(call.kind)
    if name is None or _texts(call.body.get(name)) is None:
        return None
    if call.kind is Kind.COMPLETION and any(call.body.get(field) for field in _ALONE):
        return None
    rest = {field: value for field, value in call.body.items() if field != name}
    return orjson.dumps([call.kind, call.model, rest], option=orjson.OPT_SORT_KEYS)


def joined(calls: Sequence[BackendCall]) -> BackendCall:
    """One call for all; they have the same key. It ends when the first of them would."""
    first = calls[0]
    name = _INPUTS[first.kind]
    texts = [text for call in calls for text in _texts(call.body[name]) or ()]
    return BackendCall(
        kind=first.kind,
        model=first.model,
        body={**first.body, name: texts},
        seconds=min(call.seconds for call in calls),
    )


def taken_apart(calls: Sequence[BackendCall], answer: Body) -> list[Body] | None:
    """The answer to each call; None when the answer has not one part for each input.

    Tokens are shared out by length, so that their sum stays that of the server.
    """
    name = _INPUTS[calls[0].kind]
    list_name = "data" if name == "input" else "choices"
    parts: list[dict[str, Any]] = sorted(answer.get(list_name) or (), key=_index)
    texts = [_texts(call.body[name]) or [] for call in calls]
    if [_index(part) for part in parts] != list(range(sum(map(len, texts)))):
        return None
    usage: dict[str, Any] = answer.get("usage") or {}
    own = [parts[sum(map(len, texts[:at])) :][: len(some)] for at, some in enumerate(texts)]
    prompts = shares(int(usage.get("prompt_tokens") or 0), [sum(map(len, some)) for some in texts])
    written = [sum(len(str(part.get("text") or "")) for part in some) for some in own]
    completions = shares(int(usage.get("completion_tokens") or 0), written)
    return [
        {
            **answer,
            list_name: [{**part, "index": index} for index, part in enumerate(some)],
            "usage": {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done},
        }
        for some, prompt, done in zip(own, prompts, completions, strict=True)
    ]


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` shared out by weight: whole numbers of that sum."""
    weights = [weight + 1 for weight in weights]
    bounds = [total * sum(weights[:at]) // sum(weights) for at in range(len(weights) + 1)]
    return [high - low for low, high in pairwise(bounds)]


def _texts(given: Any) -> list[str] | None:
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given and all(isinstance(text, str) for text in given):  # pyright: ignore[reportUnknownVariableType] -- JSON
        return given  # pyright: ignore[reportUnknownVariableType] -- all strings
    return None


def _index(part: dict[str, Any]) -> int:
    return int(part.get("index") or 0)
