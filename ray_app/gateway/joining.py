"""Several small requests as one call, and its answer taken apart again. Pure.

Embeddings, classification and lists of prompts can be joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import orjson

from colony.config.gateway import BackendKind
from ray_app.gateway.contracts import BackendCall, Body, Kind

_INPUTS: Final = {Kind.EMBEDDING: "input", Kind.CLASSIFICATION: "input", Kind.COMPLETION: "prompt"}
_ALONE: Final = ("n", "best_of", "echo", "logprobs")
"""What makes an answer depend on its place among others, as a seed does, or more than one for each prompt."""


def joinable(kind: Kind, body: Body) -> bool:
    """Whether a request may go out in one call with others like it."""
    name = _INPUTS.get(kind)
    if name is None or _texts(body.get(name)) is None:
        return False
    if kind is not Kind.COMPLETION:
        return True
    return body.get("seed") is None and not any(body.get(field) for field in _ALONE)  # 0 is a seed, too


def inputs_to_join(kind: Kind, body: Body) -> int:
    """Inputs of a request that may go out with others like it; 0 for one that goes alone."""
    return len(_texts(body[_INPUTS[kind]]) or ()) if joinable(kind, body) else 0


def takes_joined(kind: Kind, backend: BackendKind) -> bool:
    """Whether a server takes several requests of a kind as one. Ollama goes through prompts one by one."""
    return kind in _INPUTS and (kind is not Kind.COMPLETION or backend != "ollama")


def join_key(call: BackendCall) -> bytes | None:
    """Calls of equal key may be joined; None for one that goes alone."""
    if not joinable(call.kind, call.body):
        return None
    name = _INPUTS[call.kind]
    rest = {field: value for field, value in call.body.items() if field != name}
    return orjson.dumps([call.kind, call.model, rest], option=orjson.OPT_SORT_KEYS)


def inputs_of(call: BackendCall) -> int:
    """Inputs of a call that may be joined."""
    return len(_texts(call.body[_INPUTS[call.kind]]) or ())


def portions(calls: Sequence[BackendCall], most: int) -> Iterator[list[int]]:
    """Places of calls that go out together: in order, at most `most` inputs each. A call is never cut in two."""
    portion: list[int] = []
    held = 0
    for at, call in enumerate(calls):
        inputs = inputs_of(call)
        if portion and held + inputs > most:
            yield portion
            portion, held = [], 0
        portion.append(at)
        held += inputs
    if portion:
        yield portion


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
    index = part.get("index") or 0
    return index if isinstance(index, int) else -1  # of no input
