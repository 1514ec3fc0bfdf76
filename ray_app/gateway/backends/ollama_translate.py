"""OpenAI's shape to Ollama's native one, and back. Pure.

What Ollama cannot do is refused here with `ModelRefused`, never dropped in silence.
"""

from __future__ import annotations

import base64
import secrets
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from colony.errors import ModelRefused
from ray_app.gateway.backends.ollama_parameters import OPTIONS, refuse_unknown, think_of
from ray_app.gateway.contracts import Body, Chunk, Kind
from ray_app.gateway.sizes import answer_tokens

Native = dict[str, Any]
"""A request or an answer in Ollama's shape."""

MOST_CHOICES: Final = 16

_REASONS: Final = {"stop": "stop", "length": "length"}


def chat_request(model: str, body: Body) -> Native:
    """`POST /api/chat`. Raises `ModelRefused`."""
    refuse_unknown(body)
    if not body.get("messages"):
        raise ModelRefused("The request has no messages.", remedy="Send at least one.")
    native: Native = {"model": model, "messages": list(_messages(body["messages"]))}
    tools = _tools(body)
    if tools:
        native["tools"] = tools
    return native | _format(body) | think_of(body)


def completion_requests(model: str, body: Body) -> list[Native]:
    """`POST /api/generate`, one for each prompt. `raw`: no template is put around it. Raises `ModelRefused`."""
    refuse_unknown(body)
    if think_of(body).get("think"):
        raise ModelRefused("Ollama thinks in chats only: a text to go on with has no template to say so in.")
    suffix = body.get("suffix")
    around: Native = {"suffix": suffix} if suffix else {"raw": True}
    if int(body.get("best_of") or 1) > 1:
        raise ModelRefused("Ollama gives one answer at a time: best_of must be 1.")
    return [{"model": model, "prompt": text} | around | _format(body) for text in _texts(body.get("prompt"), "prompt")]


def embed_request(model: str, body: Body) -> Native:
    """`POST /api/embed`. Raises `ModelRefused`."""
    native: Native = {"model": model, "input": _texts(body.get("input"), "input")}
    if body.get("dimensions"):
        native["dimensions"] = body["dimensions"]
    return native


def choices_wanted(body: Body) -> int:
    """Answers to each prompt. Raises `ModelRefused` for a number that is none."""
    wanted = body.get("n")
    if wanted is None:
        return 1
    if not isinstance(wanted, int) or not 1 <= wanted <= MOST_CHOICES:
        raise ModelRefused(f"n must be a number from 1 to {MOST_CHOICES}: Ollama gives one answer after the other.")
    return wanted


def options(body: Body, choice: int = 0) -> dict[str, Any]:
    """The `options` of a request for one of its choices, but for `num_ctx` and `num_predict`."""
    found = {name: body[name] for name in OPTIONS if body.get(name) is not None}
    if isinstance(found.get("seed"), int):
        found["seed"] += choice  # the same seed would give the same answer again
    stop = body.get("stop")
    if stop:
        found["stop"] = [stop] if isinstance(stop, str) else list(stop)
    return found


def wanted_tokens(body: Body) -> int | None:
    """Tokens of answer the request asks for; None for no limit.

    Raises `ModelRefused` below 1: Ollama reads that as no limit at all.
    """
    wanted = answer_tokens(body)
    if wanted is not None and wanted < 1:
        raise ModelRefused(f"An answer of {wanted} tokens cannot be asked for.", remedy="Ask for at least one.")
    return wanted


class Pieces:
    """Makes the chunks of one answer, all with the same id, from Ollama's lines."""

    def __init__(self, kind: Kind, model: str, index: int = 0, head: Pieces | None = None) -> None:
        self._chat = kind is Kind.CHAT
        self._model = model
        self._index = index
        self._calls = 0
        self._begun = False
        self.id: str = f"{'chatcmpl' if self._chat else 'cmpl'}-{secrets.token_hex(12)}" if head is None else head.id
        self.created: int = int(time.time()) if head is None else head.created

    def piece(self, line: Native) -> Chunk | None:
        """What a line says beyond its counters; None for nothing."""
        if not self._chat:
            text = line.get("response") or ""
            return self._chunk({"text": text, "logprobs": None, "finish_reason": None}) if text else None
        message = cast("dict[str, Any]", line.get("message") or {})
        delta: dict[str, Any] = {}
        if message.get("content"):
            delta["content"] = message["content"]
        if message.get("thinking"):
            delta["reasoning_content"] = message["thinking"]
        if message.get("tool_calls"):
            delta["tool_calls"] = [self._call(call) for call in message["tool_calls"]]
        return self._delta(delta, None) if delta else None

    def last(self, reason: str) -> Chunk:
        """The piece that says why the answer ended."""
        finish = "tool_calls" if self._calls else _REASONS.get(reason, "stop")
        if self._chat:
            return self._delta({}, finish)
        return self._chunk({"text": "", "logprobs": None, "finish_reason": finish})

    def counters(self, prompt: int, completion: int) -> Chunk:
        """The piece with `usage`, which is the last one."""
        return {**self._chunk(None), "usage": usage(prompt, completion)}

    def _delta(self, delta: dict[str, Any], finish: str | None) -> Chunk:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": delta.pop("content", ""), **delta}
        return self._chunk({"delta": delta, "logprobs": None, "finish_reason": finish})

    def _chunk(self, choice: dict[str, Any] | None) -> Chunk:
        return {
            "id": self.id,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": self.created,
            "model": self._model,
            "choices": [] if choice is None else [{"index": self._index, **choice}],
        }

    def _call(self, call: Native) -> dict[str, Any]:
        function = cast("dict[str, Any]", call.get("function") or {})
        number, self._calls = self._calls, self._calls + 1
        return {
            "index": number,
            "id": call.get("id") or f"call_{secrets.token_hex(8)}",
            "type": "function",
            "function": {
                "name": function.get("name") or "",
                "arguments": orjson.dumps(function.get("arguments") or {}).decode(),
            },
        }


def embeddings_answer(model: str, body: Body, native: Native) -> Body:
    """The answer of `/api/embed` in OpenAI's shape. Raises `ModelRefused` when it has other dimensions than asked."""
    vectors = cast("Sequence[Sequence[float]]", native.get("embeddings") or ())
    wanted = body.get("dimensions")
    if wanted and any(len(vector) != wanted for vector in vectors):
        raise ModelRefused(f"The model {model!r} makes embeddings of {len(vectors[0])} dimensions only.")
    coded = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if coded else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    tokens = int(native.get("prompt_eval_count") or 0)
    return {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def usage(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's counters."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[Native]:
    names: dict[str, str] = {}
    for message in messages:
        role = str(message.get("role") or "user")
        text, images = _content(message.get("content"))
        native: Native = {"role": "system" if role == "developer" else role, "content": text}
        if images:
            native["images"] = images
        calls = cast("Sequence[Mapping[str, Any]]", message.get("tool_calls") or ())
        if calls:
            native["tool_calls"] = [{"function": _function(call)} for call in calls]
            names |= {str(call.get("id")): str(call["function"]["name"]) for call in calls}
        if role == "tool":
            native["tool_name"] = message.get("name") or names.get(str(message.get("tool_call_id")), "")
        yield native


def _function(call: Mapping[str, Any]) -> Native:
    function = cast("Mapping[str, Any]", call.get("function") or {})
    try:
        arguments = orjson.loads(function.get("arguments") or "{}")
    except orjson.JSONDecodeError:
        raise ModelRefused("The arguments of a tool call are no JSON object.") from None
    if not isinstance(arguments, dict):
        raise ModelRefused("The arguments of a tool call are no JSON object.")
    return {"name": function.get("name") or "", "arguments": arguments}


def _content(content: Any) -> tuple[str, list[str]]:
    """The text of a message, and its images in base64."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts: list[str] = []
    images: list[str] = []
    for part in cast("Sequence[Mapping[str, Any]]", content):
        kind = part.get("type")
        if kind == "text":
            texts.append(str(part.get("text") or ""))
        elif kind == "image_url":
            image = part.get("image_url")
            url = str(cast("Mapping[str, Any]", image).get("url") if isinstance(image, Mapping) else image)
            head, _, data = url.partition(";base64,")
            if not head.startswith("data:image/") or not data:
                raise ModelRefused("Ollama takes images as data URLs in base64 only; nothing is fetched for it.")
            images.append(data)
        else:
            raise ModelRefused(f"Ollama takes text and images, not {str(kind)[:40]!r}.")
    return "\n".join(texts), images


def _tools(body: Body) -> list[Any]:
    choice = body.get("tool_choice")
    if choice == "none":
        return []
    if choice not in (None, "auto"):
        raise ModelRefused("Ollama cannot be made to call a tool: tool_choice must be auto or none.")
    return list(body.get("tools") or ())


def _format(body: Body) -> Native:
    wanted = cast("Mapping[str, Any]", body.get("response_format") or {})
    kind = wanted.get("type", "text")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"format": "json"}
    schema = cast("Mapping[str, Any]", wanted.get("json_schema") or {}).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise ModelRefused("response_format must be text, json_object, or json_schema with a schema.")
    return {"format": schema}


def _texts(given: Any, name: str) -> list[str]:
    texts = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ModelRefused(f"Ollama takes text as {name}, one or a list, and no token numbers.")
    if not texts or not all(texts):
        raise ModelRefused(f"The request has an empty {name}.", remedy="Leave empty texts out.")
    return texts


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
