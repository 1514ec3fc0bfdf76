"""Bodies of OpenAI's API: requests to send, answers and streams to read. Pure."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson

from colony.errors import TruncatedAnswer, Unavailable
from ray_app.gateway.backends.refusal import told_refusal
from ray_app.gateway.contracts import BackendCall, Body, Kind

PATHS: Final[dict[Kind, str]] = {
    Kind.CHAT: "/v1/chat/completions",
    Kind.COMPLETION: "/v1/completions",
    Kind.EMBEDDING: "/v1/embeddings",
    Kind.CLASSIFICATION: "/classify",
}

_WORD_TOKENS: Final = 0.9
_FEW_TOKENS: Final = 64
_LETTERS_A_TOKEN: Final = 4


class Refused(Exception):
    """The server refused inside an answer of status 200."""

    def __init__(self, said: Any) -> None:
        super().__init__("refused inside an answer")
        self.status, self.body = told_refusal(said)


def request_body(call: BackendCall, *, stream: bool) -> Body:
    """What is sent. A stream is asked for its counters."""
    body = {**call.body, "model": call.model}
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def choices_wanted(call: BackendCall) -> int:
    """How many choices the answer has."""
    if call.kind.whole:
        return 1
    return prompts_of(call) * max(1, int(call.body.get("n") or 1))


def prompts_of(call: BackendCall) -> int:
    """How many prompts or inputs the call has."""
    return 1 if call.kind is Kind.CHAT else max(1, len(prompt_texts(call.kind, call.body)))


def prompt_texts(kind: Kind, body: Body) -> list[Any]:
    """The prompts or inputs of what is no chat. A list of numbers is one of them, in tokens."""
    given = body.get("prompt" if kind is Kind.COMPLETION else "input")
    texts = cast("list[Any]", given) if isinstance(given, list) else [given]
    return [texts] if texts and isinstance(texts[0], int) else texts


def least_tokens(kind: Kind, body: Body) -> int:
    """Fewest tokens the prompt can have; of a list, the longest one.

    Tokenizers split at white space first, so that every word is at least one token; a margin stays for those that
    merge some words.
    """
    if kind is Kind.CHAT:
        words = sum(map(_words, cast("list[dict[str, Any]]", body.get("messages") or [])))
    else:
        texts = prompt_texts(kind, body)
        words = max((len(text.split()) for text in texts if isinstance(text, str)), default=0)
    return int(words * _WORD_TOKENS)


def decoded(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises `Unavailable` for anything else, `Refused` for one that says an error."""
    value = parsed(data, what)
    if not isinstance(value, dict):
        raise Unavailable(f"The model server answered with something that is no {what}.")
    found = cast("dict[str, Any]", value)
    if found.get("error"):
        raise Refused(found["error"])
    return found


def parsed(data: bytes, what: str) -> Any:
    """JSON. Raises `Unavailable` for what is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Unavailable(f"The model server answered with something that is no {what}.") from None


def whole_answer(call: BackendCall, data: bytes) -> Body:
    """The answer in a body of status 200, with `usage`.

    Raises `Unavailable` when it is none, `TruncatedAnswer` when the counters show that the prompt was cut, `Refused`.
    """
    what = f"list of {call.kind.value}s" if call.kind.whole else f"{call.kind.value} answer"
    body = decoded(data, what)
    entries = body.get("data" if call.kind.whole else "choices")
    if not isinstance(entries, list) or not entries or not all(_is_entry(call.kind, one) for one in entries):  # pyright: ignore[reportUnknownVariableType] -- checked one by one
        raise Unavailable(f"The model server answered with something that is no {what}.")
    if not are_counters(body.get("usage")):
        body["usage"] = guessed_usage(call, _letters(cast("list[dict[str, Any]]", entries)) // _LETTERS_A_TOKEN)
    check_prompt(call, body["usage"])
    return body


def are_counters(usage: Any) -> bool:
    """Whether a server's `usage` counts tokens; what it leaves out is none."""
    if not isinstance(usage, dict):
        return False
    told = cast("dict[str, Any]", usage)
    counts = [told.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
    return all(isinstance(count, int | float) and count >= 0 for count in counts)


def guessed_usage(call: BackendCall, completion: int) -> dict[str, Any]:
    """Counters for an answer whose server counts nothing."""
    prompt = least_tokens(call.kind, call.body)
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, "estimated": True}


def check_prompt(call: BackendCall, usage: dict[str, Any]) -> None:
    """Raises `TruncatedAnswer` when the server read fewer tokens than the prompt can have."""
    read = usage.get("prompt_tokens")
    least = least_tokens(call.kind, call.body)
    if least > _FEW_TOKENS and isinstance(read, int) and 0 < read < least:
        raise TruncatedAnswer(
            f"The model server read {read} tokens of a prompt of at least {least}.",
            remedy="Raise the context length of the model server, or shorten the prompt.",
        )


def _is_entry(kind: Kind, entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    found = cast("dict[str, Any]", entry)
    if kind is Kind.EMBEDDING:
        return bool(found.get("embedding"))
    if kind is Kind.CLASSIFICATION:
        return isinstance(found.get("probs"), list)
    if kind is Kind.COMPLETION:
        return isinstance(found.get("text"), str)
    return isinstance(found.get("message"), dict)


def _letters(entries: list[dict[str, Any]]) -> int:
    said: list[Any] = []
    for entry in entries:
        message = cast("dict[str, Any]", entry.get("message") or {})
        said.append(entry.get("text") or message.get("content"))
    return sum(len(text) for text in said if isinstance(text, str))


def _words(message: dict[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return len(content.split())
    parts = cast("list[dict[str, Any]]", content) if isinstance(content, list) else []
    return sum(len(part["text"].split()) for part in parts if isinstance(part.get("text"), str))
