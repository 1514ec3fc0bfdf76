"""One form for requests that mean the same, and what may be kept of their answers. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, Final, cast

import orjson

from colony.errors import BadInput
from ray_app.gateway.contracts import Ask, Body, CachePolicy, Kind

PREFIX_LETTERS: Final = 256
"""Letters of a prompt without a system message that make up its start; a shorter one has none."""

_PREFIX_MOST: Final = 8192
"""Letters of a system message that are looked at."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "user",
        "metadata",
        "stream",
        "stream_options",
        "model",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "keep_alive",
    }
)
"""Fields that change nothing in the answer; `model` is written apart."""

_DEFAULTS: Final[dict[str, Any]] = {
    "n": 1,
    "best_of": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "echo": False,
    "stop": [],
    "logit_bias": {},
    "tools": [],
    "response_format": {"type": "text"},
    "encoding_format": "float",
}
"""What a field left out means everywhere; a field that says so is left out too.

Temperature and top_p are not here: left out they mean what each backend likes, which is seldom OpenAI's 1.
"""

_LISTS: Final = frozenset({"stop", "prompt", "input"})
"""Fields where one text and a list of that one text mean the same."""


def canonical_bytes(ask: Ask, model: str = "") -> bytes:
    """The same bytes for requests that mean the same: keys sorted, defaults and fields without effect left out.

    `model` is the model the request resolves to, where that is known: a tier may mean another one tomorrow. A tier and
    the name of its model stay apart, since only a tier may be answered by another model. Raises `BadInput` for a body
    that is no JSON.
    """
    document = {
        "kind": ask.kind.value,
        "model": ask.model,
        "of": model,
        "tier": "" if ask.model else ask.tier or f"of {ask.caller.agent_type}",
        "body": canonical_body(ask.body),
    }
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise BadInput(f"The request is no JSON: {error}.") from error


def cache_key(ask: Ask, model: str = "") -> bytes:
    """SHA-256 of `canonical_bytes`: 32 bytes."""
    return hashlib.sha256(canonical_bytes(ask, model)).digest()


def canonical_body(body: Body) -> Body:
    """A request's body with everything said in one way."""
    said = {name: _plain(value) for name, value in body.items() if name not in _WITHOUT_EFFECT and value is not None}
    most = said.pop("max_completion_tokens", None)
    if most is not None:
        said["max_tokens"] = most
    for name in _LISTS & said.keys():
        if isinstance(said[name], str):
            said[name] = [said[name]]
    if said.get("tool_choice") == ("auto" if said.get("tools") else "none"):
        del said["tool_choice"]
    if isinstance(said.get("messages"), list):
        said["messages"] = [_message(message) for message in said["messages"]]
    return {name: value for name, value in said.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def is_deterministic(ask: Ask) -> bool:
    """Whether the same request gets the same answer: no text, or one answer at temperature 0 or with a seed."""
    if ask.kind.whole:
        return True
    if any(ask.body.get(name) not in (None, 1) for name in ("n", "best_of")):
        return False
    return ask.body.get("temperature") == 0 or ask.body.get("seed") is not None


def may_be_cached(ask: Ask) -> bool:
    """Whether the answer may come from the cache and go into it, by the request and its policy."""
    if ask.cache is CachePolicy.AUTO:
        return is_deterministic(ask)
    return ask.cache is CachePolicy.ALWAYS


def prefix_hash(ask: Ask) -> int:
    """Number of the start of a prompt, 1 to 2^63 - 1: requests with equal starts are best kept together.

    The start is the tools and the system messages; without them the first `PREFIX_LETTERS` letters. 0 for a prompt
    too short to be worth it, and for embeddings and classification, which share nothing.
    """
    if ask.kind.whole:
        return 0
    start = _start_of_chat(ask.body) if ask.kind is Kind.CHAT else _start_of_text(_text(ask.body.get("prompt")))
    if not start:
        return 0
    digest = hashlib.blake2b(start.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


def _start_of_chat(body: Body) -> str:
    messages = [cast("dict[str, Any]", entry) for entry in body.get("messages") or () if isinstance(entry, dict)]
    system = ""
    for message in messages:
        if message.get("role") not in ("system", "developer"):
            break
        system += _text(message.get("content")) + "\n"
    tools = body.get("tools")
    if tools:
        system += orjson.dumps(tools, option=orjson.OPT_SORT_KEYS).decode()
    if system:
        return system[:_PREFIX_MOST]
    return _start_of_text(_text(messages[0].get("content"))) if messages else ""


def _start_of_text(text: str) -> str:
    return text[:PREFIX_LETTERS] if len(text) >= PREFIX_LETTERS else ""


def _text(content: Any) -> str:
    """The text of a content, whole or in parts; of a list of prompts the first."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return ""
    parts = cast("list[Any]", content)
    if isinstance(parts[0], str):
        return parts[0]
    objects = [cast("dict[str, Any]", part) for part in parts if isinstance(part, dict)]
    return "".join(str(part.get("text") or "") for part in objects)


def _message(message: Any) -> Any:
    """A chat message with its text in one piece, and without what says nothing."""
    if not isinstance(message, dict):
        return message
    said = {name: value for name, value in cast("dict[str, Any]", message).items() if value not in (None, [])}
    content = said.get("content")
    if isinstance(content, list) and content:
        parts = cast("list[Any]", content)
        if all(isinstance(part, dict) and part.keys() == {"type", "text"} for part in parts) and len(parts) == 1:
            said["content"] = parts[0]["text"]
    return said


def _plain(value: Any) -> Any:
    """`value` with every whole float as an integer, so that 0, 0.0 and -0.0 are one."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    return value
