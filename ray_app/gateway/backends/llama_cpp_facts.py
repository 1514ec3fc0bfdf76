"""What a llama.cpp server says of itself: `/props`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from ray_app.gateway.backends.control_tokens import ControlTokens, tokens_in_template


@dataclass(frozen=True, slots=True)
class Facts:
    """A server and its model."""

    names: frozenset[str]
    """All names of the model."""
    tokens: ControlTokens
    """Those of its template."""
    slots: int | None = None
    """None where it does not say."""
    context: int | None = None
    """Tokens of one slot; None where it does not say."""
    embeds: int = 0
    """Tokens of one input it can embed beside chatting; 0 when it cannot."""
    takes_tools: bool = True
    """False only where the template has no place for them: the server would drop them without a word."""


BATCH: Final = 512
"""Tokens llama.cpp computes at once unless it is told otherwise: the longest input it can embed."""


def facts_from(names: frozenset[str], props: dict[str, Any], *, embeds: bool = False) -> Facts:
    """The facts in an answer of `GET /props`; what is missing or of another shape is left open."""
    own = tokens_in_template(
        _text(props, "chat_template"), _text(props, "bos_token"), _text(props, "eos_token"), _text(props, "eot_token")
    )
    settings = _object(props, "default_generation_settings")
    context = _number(settings, "n_ctx") or _number(props, "n_ctx")
    return Facts(
        names=names,
        tokens=ControlTokens(own),
        slots=_number(props, "total_slots"),
        context=context,
        embeds=min(BATCH, context or BATCH) if embeds else 0,
        takes_tools=_object(props, "chat_template_caps").get("supports_tools") is not False,
    )


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _number(said: dict[str, Any], name: str) -> int | None:
    value = said.get(name)
    return value if isinstance(value, int) and value > 0 else None


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    value = said.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
