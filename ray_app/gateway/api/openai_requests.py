"""Bodies of OpenAI's interface, checked. Pure; raises `RequestRefused` with the field's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from ray_app.gateway.api.fields import (
    Check,
    RequestRefused,
    checked,
    either,
    flag,
    integer,
    list_of,
    mapping,
    number,
    one_of,
    text,
    wrong,
)
from ray_app.gateway.api.openai_answers import ChatRenderer, ClassificationRenderer, EmbeddingRenderer, TextRenderer
from ray_app.gateway.api.wanted import Wanted
from ray_app.gateway.contracts import Kind

MAX_TOKENS: Final = 10_000_000
"""Beyond it no model answers; smaller numbers meet the model's own context behind the gate."""

MAX_MESSAGES: Final = 10_000
MAX_INPUTS: Final = 2_048
"""Inputs of one call, as OpenAI has it."""

MAX_ANSWERS: Final = 64
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")

_NOT_OURS: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Taken apart by us, or about OpenAI's own books: nothing an answer depends on."""


def check_stop(name: str, value: Any) -> None:
    """Words that end an answer."""
    for word in cast("list[Any]", value) if isinstance(value, list) else [value]:
        if not isinstance(word, str) or not word or len(word) > 1_000:
            raise wrong(name, "a string, or a list of strings, of 1 to 1000 characters", word)
    if isinstance(value, list) and len(cast("list[Any]", value)) > 16:
        raise RequestRefused(f"'{name}' may hold at most 16 strings.", param=name)


def _logit_bias(name: str, value: Any) -> None:
    mapping(name, value)
    for token, bias in cast("dict[str, Any]", value).items():
        number(-100, 100)(f"{name}.{token[:40]}", bias)


def _response_format(name: str, value: Any) -> None:
    mapping(name, value)
    kind = value.get("type")
    one_of("text", "json_object", "json_schema")(f"{name}.type", kind)
    if kind == "json_schema":
        wanted = value.get("json_schema")
        mapping(f"{name}.json_schema", wanted)
        mapping(f"{name}.json_schema.schema", wanted.get("schema"))


_SAMPLING: Final[dict[str, Check]] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": integer(-1, 1_000_000),
    "min_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "repeat_penalty": number(0, 100),
    "repetition_penalty": number(0, 100),
    "seed": integer(-(2**63), 2**63 - 1),
    "stop": check_stop,
    "n": integer(1, MAX_ANSWERS),
    "logit_bias": _logit_bias,
    "max_tokens": integer(1, MAX_TOKENS),
    "min_tokens": integer(0, MAX_TOKENS),
    "ignore_eos": flag,
    "response_format": _response_format,
}

CHAT_FIELDS: Final[dict[str, Check]] = {
    **_SAMPLING,
    "messages": lambda name, value: check_messages(name, value),
    "max_completion_tokens": integer(1, MAX_TOKENS),
    "logprobs": flag,
    "top_logprobs": integer(0, 20),
    "tools": list_of(mapping, most=1_000, least=0),
    "tool_choice": either(mapping, one_of("none", "auto", "required")),
    "parallel_tool_calls": flag,
    "functions": list_of(mapping, most=1_000, least=0),
    "function_call": either(mapping, one_of("none", "auto")),
    "reasoning_effort": text,
    "verbosity": text,
    "modalities": list_of(one_of("text"), most=1),
    "chat_template_kwargs": mapping,
}
"""What a chat may say, and how each is checked."""


def _prompt(name: str, value: Any) -> None:
    check_texts(name, value, "prompt")


def _input(name: str, value: Any) -> None:
    check_texts(name, value, "input")


def check_texts(name: str, value: Any, what: str) -> None:
    """One text or a list of them; none empty, none as tokens."""
    entries = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not entries or len(entries) > MAX_INPUTS:
        raise RequestRefused(f"'{name}' must hold 1 to {MAX_INPUTS} strings, not {len(entries)}.", param=name)
    for entry in entries:
        if isinstance(entry, int | list) and not isinstance(entry, bool):
            raise RequestRefused(
                f"'{name}' must be text: tokens mean something else to every model behind this gateway.", param=name
            )
        if not isinstance(entry, str):
            raise wrong(name, "a string or a list of strings", entry)
        if not entry:
            raise RequestRefused(f"'{name}' holds an empty {what}.", param=name)


COMPLETION_FIELDS: Final[dict[str, Check]] = {
    **_SAMPLING,
    "prompt": _prompt,
    "suffix": text,
    "echo": flag,
    "best_of": integer(1, MAX_ANSWERS),
    "logprobs": integer(0, 20),
}
"""What a completion may say."""

_EMBEDDING: Final[dict[str, Check]] = {
    "input": _input,
    "encoding_format": one_of("float", "base64"),
    "dimensions": integer(1, 100_000),
}

_CLASSIFICATION: Final[dict[str, Check]] = {"input": _input}


def chat(raw: dict[str, Any]) -> Wanted:
    """`/v1/chat/completions`."""
    body = checked(raw, CHAT_FIELDS, _NOT_OURS)
    if "messages" not in body:
        raise RequestRefused("'messages' is missing.", param="messages")
    usage = _wants_usage(raw)
    return _wanted(Kind.CHAT, raw, body, lambda request_id: ChatRenderer(request_id, usage=usage))


def completion(raw: dict[str, Any]) -> Wanted:
    """`/v1/completions`."""
    body = checked(raw, COMPLETION_FIELDS, _NOT_OURS)
    if "prompt" not in body:
        raise RequestRefused("'prompt' is missing.", param="prompt")
    if body.get("best_of", 1) < body.get("n", 1) and "best_of" in body:
        raise RequestRefused("'best_of' must be at least 'n'.", param="best_of")
    usage = _wants_usage(raw)
    return _wanted(Kind.COMPLETION, raw, body, lambda request_id: TextRenderer(request_id, usage=usage))


def embedding(raw: dict[str, Any]) -> Wanted:
    """`/v1/embeddings`. Backends are always asked for numbers: packing them is ours."""
    body = checked(raw, _EMBEDDING, _NOT_OURS)
    if "input" not in body:
        raise RequestRefused("'input' is missing.", param="input")
    packed = body.pop("encoding_format", "float") == "base64"
    return _wanted(Kind.EMBEDDING, raw, body, lambda _: EmbeddingRenderer(packed=packed), streams=False)


def classification(raw: dict[str, Any]) -> Wanted:
    """`/v1/classify`, in vLLM's shape."""
    body = checked(raw, _CLASSIFICATION, _NOT_OURS)
    if "input" not in body:
        raise RequestRefused("'input' is missing.", param="input")
    return _wanted(Kind.CLASSIFICATION, raw, body, ClassificationRenderer, streams=False)


def check_messages(name: str, value: Any) -> None:
    """The messages of a chat."""
    list_of(_message, most=MAX_MESSAGES)(name, value)
    if not any(message.get("content") or message.get("tool_calls") for message in value):
        raise RequestRefused("All messages are empty.", param=name)


def _message(name: str, value: Any) -> None:
    mapping(name, value)
    message = cast("dict[str, Any]", value)
    one_of(*ROLES)(f"{name}.role", message.get("role"))
    content = message.get("content")
    if isinstance(content, list):
        list_of(_part, most=1_000)(f"{name}.content", content)
    elif not isinstance(content, str) and (content is not None or message["role"] != "assistant"):
        raise wrong(f"{name}.content", "a string or a list of parts", content)
    for field in ("name", "tool_call_id"):
        if message.get(field) is not None:
            text(f"{name}.{field}", message[field])
    if message.get("tool_calls") is not None:
        list_of(mapping, most=1_000, least=0)(f"{name}.tool_calls", message["tool_calls"])


def _part(name: str, value: Any) -> None:
    mapping(name, value)
    text(f"{name}.type", value.get("type"))
    if value["type"] == "text":
        text(f"{name}.text", value.get("text"))


def _wants_usage(raw: dict[str, Any]) -> bool:
    options = raw.get("stream_options")
    if options is None:
        return False
    mapping("stream_options", options)
    wish = options.get("include_usage")
    if wish is not None:
        flag("stream_options.include_usage", wish)
    return bool(wish)


def _wanted(
    kind: Kind, raw: dict[str, Any], body: dict[str, Any], renderer: Callable[[str], Any], *, streams: bool = True
) -> Wanted:
    stream = raw.get("stream") or False
    flag("stream", stream)
    if stream and not streams:
        raise RequestRefused("This cannot be streamed.", param="stream")
    return Wanted(
        kind=kind, model=model_name(raw), body=body, renderer=renderer, stream=stream, user=_user(raw.get("user"))
    )


def model_name(raw: dict[str, Any], field: str = "model") -> str:
    """The model or tier asked for; empty where none is named."""
    name = raw.get(field)
    if name is None:
        return ""
    text(field, name)
    if len(name) > 256 or not name.isprintable():
        raise RequestRefused(f"'{field}' is no name of a model.", param=field)
    return name


def _user(value: Any) -> str:
    if value is None:
        return ""
    text("user", value)
    if len(value) > 128 or not value.isprintable():
        raise RequestRefused("'user' must have at most 128 characters that can be shown.", param="user")
    return value
