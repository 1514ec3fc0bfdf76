"""How long a prompt can be, and whether it fits: bounds first, since asking a server costs a round trip. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from colony.errors import PromptTooLong
from ray_app.gateway.contracts import Body, Kind

TEMPLATE_TOKENS: Final = 16
"""Most tokens a chat template adds for one message, and once for the answer."""

DEFAULT_ANSWER: Final = 512
"""Tokens reserved for an answer whose request names no limit."""


def most_tokens(kind: Kind, body: Body) -> int:
    """An upper bound: no tokenizer that works on bytes makes more tokens than there are bytes."""
    texts = list(_texts(kind, body))
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + TEMPLATE_TOKENS * (len(texts) + 1)


def answer_tokens(body: Body) -> int | None:
    """Most tokens the answer may have; None where the request leaves it open."""
    for name in ("max_completion_tokens", "max_tokens"):
        if isinstance(body.get(name), int):
            return int(body[name])
    return None


def reserved_tokens(kind: Kind, body: Body, prompt: int, context: int) -> int:
    """What quotas and budgets set aside before the call; corrected by the true figures after it."""
    if kind.whole:
        return prompt
    answer = answer_tokens(body)
    each = min(DEFAULT_ANSWER if answer is None else answer, max(1, context - prompt))
    return prompt + each * max(1, int(body.get("n") or 1))


def fitted(kind: Kind, body: Body, prompt: int, *, model: str, context: int) -> Body:
    """The body with an answer that fits beside a prompt of `prompt` tokens.

    Raises `PromptTooLong` when no room is left for an answer, or when the request wants a longer one than the model
    can ever give.
    """
    room = context - prompt
    if kind.whole:
        if room < 0:
            raise PromptTooLong(f"The input has {prompt} tokens, the model {model!r} takes {context}.")
        return body
    if room < 1:
        raise PromptTooLong(
            f"The prompt has at least {prompt} tokens, the model {model!r} takes {context} with its answer.",
            remedy="Shorten the prompt, or use a model with a longer context.",
        )
    answer = answer_tokens(body)
    if answer is None or answer <= room:
        return body
    if answer > context:
        raise PromptTooLong(
            f"An answer of {answer} tokens is more than the model {model!r} can give ({context} with the prompt).",
            remedy=f"Ask for at most {room} tokens.",
        )
    name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    return {**body, name: room}


def _texts(kind: Kind, body: Body) -> Iterator[str]:
    if kind is Kind.CHAT:
        for message in cast("list[dict[str, Any]]", body.get("messages") or []):
            yield from _strings(message)
        yield from _strings(body.get("tools"))
    else:
        yield from _strings(body.get("prompt" if kind is Kind.COMPLETION else "input"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _strings(inner)
