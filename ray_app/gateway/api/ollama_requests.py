"""Bodies of Ollama's interface, checked and put into OpenAI's shape. Pure; raises `RequestRefused`."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson

from colony.clock import Clock
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
from ray_app.gateway.api.ollama_answers import EmbedRenderer, TalkRenderer
from ray_app.gateway.api.openai_requests import (
    MAX_MESSAGES,
    MAX_TOKENS,
    check_messages,
    check_stop,
    check_texts,
    model_name,
)
from ray_app.gateway.api.wanted import Wanted
from ray_app.gateway.contracts import Kind
from ray_app.gateway.plan import TIERS


def _anything(_name: str, _value: Any) -> None:
    """Looked at later."""


OPTIONS: Final[dict[str, Check]] = {
    "num_predict": integer(-2, MAX_TOKENS),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": integer(-1, 1_000_000),
    "min_p": number(0, 1),
    "typical_p": number(0, 1),
    "seed": integer(-(2**63), 2**63 - 1),
    "stop": check_stop,
    "repeat_penalty": number(0, 100),
    "repeat_last_n": integer(-1, 1_000_000),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "mirostat": integer(0, 2),
    "mirostat_tau": number(0, 1_000),
    "mirostat_eta": number(0, 1_000),
}
"""Parameters of Ollama that OpenAI's interface takes by the same name, but for `num_predict`."""

_LOADING: Final = frozenset(
    {
        "numa",
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mmap",
        "use_mlock",
        "embedding_only",
        "num_thread",
        "num_keep",
        "tfs_z",
        "penalize_newline",
    }
)
"""How a model is loaded is the gateway's affair; the last two Ollama itself no longer obeys."""

_THINK: Final = either(flag, one_of("low", "medium", "high"))
_FORMAT: Final = either(mapping, one_of("", "json"))

_COMMON: Final[dict[str, Check]] = {
    "options": mapping,
    "format": _FORMAT,
    "think": _THINK,
    "logprobs": flag,
    "top_logprobs": integer(0, 20),
}
_CHAT: Final[dict[str, Check]] = {
    **_COMMON,
    "messages": list_of(mapping, most=MAX_MESSAGES),
    "tools": list_of(mapping, most=1_000, least=0),
}
_GENERATE: Final[dict[str, Check]] = {
    **_COMMON,
    "prompt": text,
    "system": text,
    "suffix": text,
    "images": list_of(text, most=100, least=0),
    "raw": flag,
    "template": _anything,
    "context": _anything,
}
_EMBED: Final[dict[str, Check]] = {
    "input": lambda name, value: check_texts(name, value, "input"),
    "dimensions": integer(1, 100_000),
    "options": mapping,
    "truncate": flag,
}
_NOT_OURS: Final = frozenset({"model", "name", "stream", "keep_alive"})
_TRUNCATION: Final = frozenset({"truncate", "shift"})
"""Nothing is ever cut here: a prompt that does not fit is refused."""


def chat(raw: dict[str, Any], clock: Clock) -> Wanted:
    """`/api/chat`."""
    given = checked(raw, _CHAT, _NOT_OURS | _TRUNCATION)
    if "messages" not in given:
        raise RequestRefused("'messages' is missing.", param="messages")
    body: dict[str, Any] = {"messages": _messages(given["messages"]), **_sampling(given)}
    if given.get("tools"):
        body["tools"] = given["tools"]
    check_messages("messages", body["messages"])
    return _talk(raw, Kind.CHAT, body, clock, chat=True)


def generate(raw: dict[str, Any], clock: Clock) -> Wanted:
    """`/api/generate`: a chat of one message, or with `raw` or `suffix` a text to go on with."""
    given = checked(raw, _GENERATE, _NOT_OURS | _TRUNCATION)
    for field in ("template", "context"):
        if given.get(field):
            raise RequestRefused(f"'{field}' is not supported: send messages to /api/chat.", param=field)
    prompt = given.get("prompt", "")
    if not prompt:
        raise RequestRefused("'prompt' is empty.", param="prompt")
    if given.get("raw") or given.get("suffix"):
        body: dict[str, Any] = {"prompt": prompt, **_sampling(given)}
        if given.get("suffix"):
            body["suffix"] = given["suffix"]
        return _talk(raw, Kind.COMPLETION, body, clock, chat=False)
    user: dict[str, Any] = {"role": "user", "content": _with_images(prompt, given.get("images"))}
    system = [{"role": "system", "content": given["system"]}] if given.get("system") else []
    return _talk(raw, Kind.CHAT, {"messages": [*system, user], **_sampling(given)}, clock, chat=False)


def embed(raw: dict[str, Any], clock: Clock) -> Wanted:
    """`/api/embed`."""
    given = checked(raw, _EMBED, _NOT_OURS)
    if "input" not in given:
        raise RequestRefused("'input' is missing.", param="input")
    body = {name: given[name] for name in ("input", "dimensions") if name in given}
    return _embedding(raw, body, clock, legacy=False)


def embeddings(raw: dict[str, Any], clock: Clock) -> Wanted:
    """`/api/embeddings`, the older form: one prompt."""
    given = checked(raw, {"prompt": text, "options": mapping}, _NOT_OURS)
    if not given.get("prompt"):
        raise RequestRefused("'prompt' is empty.", param="prompt")
    return _embedding(raw, {"input": given["prompt"]}, clock, legacy=True)


def _embedding(raw: dict[str, Any], body: dict[str, Any], clock: Clock, *, legacy: bool) -> Wanted:
    name = model_of(raw)
    return Wanted(
        kind=Kind.EMBEDDING, model=name, body=body, renderer=lambda _: EmbedRenderer(name, clock, legacy=legacy)
    )


def _talk(raw: dict[str, Any], kind: Kind, body: dict[str, Any], clock: Clock, *, chat: bool) -> Wanted:
    stream = raw.get("stream")
    if stream is not None:
        flag("stream", stream)
    name = model_of(raw)
    return Wanted(
        kind=kind,
        model=name,
        body=body,
        renderer=lambda _: TalkRenderer(name, clock, chat=chat),
        stream=stream is not False,
    )


def model_of(raw: dict[str, Any]) -> str:
    """The model asked for; clients add `:latest` where no tag is given, also to a tier."""
    name = model_name(raw) or model_name(raw, "name")
    tier = name.removesuffix(":latest")
    return tier if tier in TIERS else name


def _sampling(given: dict[str, Any]) -> dict[str, Any]:
    body = checked(given.get("options", {}), OPTIONS, _LOADING)
    most = body.pop("num_predict", -1)
    if most == 0:
        raise RequestRefused("'num_predict' must be positive, or -1 for no limit.", param="num_predict")
    if most > 0:
        body["max_tokens"] = most
    wanted = given.get("format")
    if wanted == "json":
        body["response_format"] = {"type": "json_object"}
    elif wanted:
        schema = {"name": "answer", "schema": wanted, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    think = given.get("think")
    if think is not None:
        body["reasoning_effort"] = ("medium" if think else "none") if isinstance(think, bool) else think
    for field in ("logprobs", "top_logprobs"):
        if field in given:
            body[field] = given[field]
    return body


def _with_images(content: Any, images: list[str] | None) -> Any:
    """Text and pictures as parts. The bytes tell the kind; servers look at them, not at the label."""
    if not images:
        return content
    pictures = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in images]
    return [{"type": "text", "text": content or ""}, *pictures]


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ollama's messages in OpenAI's shape: tool calls get ids, results the id of the call they answer."""
    waiting: list[tuple[str, str]] = []
    out: list[dict[str, Any]] = []
    for number_, message in enumerate(messages):
        where = f"messages[{number_}]"
        one_of("system", "user", "assistant", "tool")(f"{where}.role", message.get("role"))
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            raise wrong(f"{where}.content", "a string", content)
        images = message.get("images")
        if images:
            list_of(text, most=100)(f"{where}.images", images)
        said: dict[str, Any] = {"role": message["role"], "content": _with_images(content or "", images)}
        calls = message.get("tool_calls")
        if calls:
            said["tool_calls"] = _tool_calls(where, calls, waiting)
        if message["role"] == "tool":
            said["tool_call_id"] = _answered(message, waiting)
        out.append(said)
    return out


def _tool_calls(where: str, calls: Any, waiting: list[tuple[str, str]]) -> list[dict[str, Any]]:
    list_of(mapping, most=1_000)(f"{where}.tool_calls", calls)
    out: list[dict[str, Any]] = []
    for index, call in enumerate(cast("list[dict[str, Any]]", calls)):
        field = f"{where}.tool_calls[{index}].function"
        function = call.get("function")
        mapping(field, function)
        function = cast("dict[str, Any]", function)
        text(f"{field}.name", function.get("name"))
        arguments: Any = function.get("arguments") or {}
        mapping(f"{field}.arguments", arguments)
        call_id = f"call_{where[9:-1]}_{index}"
        waiting.append((function["name"], call_id))
        said = {"name": function["name"], "arguments": orjson.dumps(arguments).decode()}
        out.append({"id": call_id, "type": "function", "function": said})
    return out


def _answered(message: dict[str, Any], waiting: list[tuple[str, str]]) -> str:
    """The id of the oldest open call that this result may belong to: by name where it has one."""
    name = message.get("tool_name") or message.get("name")
    for index, (called, call_id) in enumerate(waiting):
        if not name or called == name:
            del waiting[index]
            return call_id
    return "call_unknown"
