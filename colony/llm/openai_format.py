"""The OpenAI chat format: requests to JSON, JSON to answers, statuses to errors. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from colony.errors import (
    BudgetSpent,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from colony.llm.port import ChatAnswer, ChatRequest

_SHOWN: Final = 200
_FEW_WORDS: Final = 64
_PLAUSIBLE: Final = 0.9

# What servers call it: the gateway (which also names the class of the error), OpenAI and vLLM, llama.cpp.
_TOO_LONG: Final = frozenset({"PromptTooLong", "context_length_exceeded", "exceed_context_size_error"})
_BUDGET: Final = frozenset({"BudgetSpent", "budget_spent", "insufficient_quota"})
_TRUNCATED: Final = frozenset({"TruncatedAnswer", "truncated_answer"})

_LOADING: Final = "loading model"
"""What llama.cpp says with status 503 while it reads its file: it will take work soon."""


# A stream has begun with status 200: what went wrong later is told by its code alone.
_STREAM_STATUS: Final = {
    "deadline_exceeded": HTTPStatus.GATEWAY_TIMEOUT,
    "truncated_answer": HTTPStatus.BAD_GATEWAY,
    "rate_limit_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "context_length_exceeded": HTTPStatus.BAD_REQUEST,
    "model_refused": HTTPStatus.BAD_REQUEST,
}


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Message(_Lenient):
    content: str | None = None


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Lenient):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(_Lenient):
    choices: tuple[_Choice, ...]
    model: str = ""
    usage: _Usage | None = None


class _Delta(_Lenient):
    content: str | None = None


class _PieceChoice(_Lenient):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Chunk(_Lenient):
    choices: tuple[_PieceChoice, ...] = ()
    model: str = ""
    usage: _Usage | None = None
    error: Any = None


class _Model(_Lenient):
    id: str


class _Models(_Lenient):
    data: tuple[_Model, ...]


class _Error(_Lenient):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _Refusal(_Lenient):
    error: _Error | str = ""


class Piece(NamedTuple):
    """A part of an answer; the last one has no text but the counts, where the server says them."""

    text: str
    model: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def encode_request(request: ChatRequest, model: str, *, stream: bool = False) -> bytes:
    """The body of `POST /v1/chat/completions`; a stream ends with a piece that counts its tokens."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [message.model_dump() for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        described = {"name": "answer", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    return orjson.dumps(body)


def decode_answer(request: ChatRequest, body: bytes) -> ChatAnswer:
    """The answer in a body of status 200.

    Raises `Unavailable` when it is no chat completion (a proxy's page, half an answer), `TruncatedAnswer` when the
    counters show that the server cut the prompt.
    """
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError:
        raise Unavailable("The model server answered with something that is no chat completion.") from None
    if not completion.choices:
        raise Unavailable("The model server answered without a choice.")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    least = least_prompt_tokens(request)
    if least > _FEW_WORDS and 0 < usage.prompt_tokens < least:
        raise TruncatedAnswer(
            f"The model server read {usage.prompt_tokens} tokens of a prompt of at least {least}.",
            remedy="Raise the context length of the model server, or shorten the prompt.",
        )
    return ChatAnswer(
        text=choice.message.content or "",
        model=completion.model,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        finish_reason=choice.finish_reason or "stop",
    )


def least_prompt_tokens(request: ChatRequest) -> int:
    """Fewest tokens the prompt can have been if nothing of it was cut.

    Tokenisers split at white space first, so that every word is at least one token; a margin stays for those that
    merge some words.
    """
    words = sum(len(message.content.split()) for message in request.messages)
    return int(words * _PLAUSIBLE)


def decode_models(body: bytes) -> list[str]:
    """Names in a body of `GET /v1/models`. Raises `Unavailable`."""
    try:
        return [model.id for model in _Models.model_validate_json(body).data]
    except ValidationError:
        raise Unavailable("The model server answered with something that is no list of models.") from None


def error_of(status: int, body: bytes, retry_after: str = "") -> ColonyError:
    """The error that an answer of `status` stands for; `retry_after` is the header of that name.

    What a server says about credentials is not repeated.
    """
    said = _said(body)
    told = {str(said.code or ""), said.type or ""} - {""}
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return NotPermitted(
            f"The model server refused our credentials ({status}).", remedy="Check model.key_file in agent_config.yaml."
        )
    if told & _BUDGET:
        return BudgetSpent(f"No tokens are left{said.message}.", remedy="Raise gateway.limits.job_tokens.")
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        # Who says when to come back is busy; who does not may be broken for good.
        status == HTTPStatus.SERVICE_UNAVAILABLE and (retry_after.strip() or _LOADING in said.message.lower())
    ):
        wait = seconds_of(retry_after)
        return Overloaded(f"The model server takes no more work now ({status}){said.message}.", retry_after=wait)
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT):
        return DeadlineExceeded(f"The model server gave up waiting ({status}).")
    if told & _TRUNCATED:
        return TruncatedAnswer(f"The model server cut the prompt or the answer{said.message}.")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = PromptTooLong if told & _TOO_LONG else ModelRefused
        return kind(f"The model server refused the request ({status}){said.message}.")
    return Unavailable(f"The model server answered with status {status}.")


def decode_piece(data: str) -> Piece:
    """A piece of a stream. Raises the error it stands for, `Unavailable` when it is neither."""
    try:
        chunk = _Chunk.model_validate_json(data)
    except ValidationError:
        raise Unavailable("The model server sent a piece that is no part of an answer.") from None
    if chunk.error is not None:
        raise _stream_error(data.encode())
    choice, usage = chunk.choices[0] if chunk.choices else _PieceChoice(), chunk.usage or _Usage()
    return Piece(
        choice.delta.content or "",
        chunk.model,
        choice.finish_reason or "",
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def _stream_error(body: bytes) -> ColonyError:
    said = _said(body)
    status = _STREAM_STATUS.get(str(said.code or ""))
    return Unavailable(f"The answer broke off{said.message}.") if status is None else error_of(status, body)


def seconds_of(retry_after: str) -> float | None:
    """The header `Retry-After` in seconds, at most an hour; None where it says nothing usable (also: a date)."""
    try:
        seconds = float(retry_after)
    except ValueError:
        return None
    return min(seconds, 3600.0) if seconds >= 0 else None


class _Said(NamedTuple):
    message: str
    """Ready to be put behind a sentence; empty for none."""
    type: str | None = None
    code: str | int | None = None


def _said(body: bytes) -> _Said:
    try:
        error = _Refusal.model_validate_json(body).error
    except ValidationError:
        return _Said("")
    detail = _Error(message=error) if isinstance(error, str) else error
    text = " ".join(detail.message.split())
    return _Said(f": {text[:_SHOWN].rstrip('.')}" if text else "", detail.type, detail.code)
