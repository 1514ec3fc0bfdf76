"""Answers in OpenAI's words."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from colony.errors import (
    BadInput,
    BudgetSpent,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.openai_answers import ChatRenderer, EmbeddingRenderer, error_body, models_body
from ray_app.gateway.api.problems import KeyRefused, problem_of
from ray_app.gateway.contracts import ServedModel

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
PIECE: dict[str, Any] = {"id": "theirs", "model": "tiny", "choices": [{"index": 0, "delta": {"content": "a"}}]}


def events(raw: bytes) -> list[Any]:
    found = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]
    return [text if text == "[DONE]" else orjson.loads(text) for text in found]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    closing = {**PIECE, "choices": [], "usage": USAGE}
    silent = ChatRenderer("7", usage=False)
    assert events(silent.piece(PIECE) + silent.piece(closing) + silent.end()) == [
        {**PIECE, "id": "chatcmpl-7"},
        "[DONE]",
    ]
    telling = ChatRenderer("7", usage=True)
    assert events(telling.piece(PIECE) + telling.piece(closing) + telling.end()) == [
        {**PIECE, "id": "chatcmpl-7", "usage": None},
        {"id": "chatcmpl-7", "model": "tiny", "choices": [], "usage": USAGE},
        "[DONE]",
    ]


def test_usage_beside_the_last_piece_is_moved_to_its_own() -> None:
    telling = ChatRenderer("7", usage=True)
    out = events(telling.piece({**PIECE, "usage": USAGE}) + telling.end())
    assert [event["usage"] for event in out[:-1]] == [None, USAGE]


def test_a_stream_that_broke_off_is_not_done() -> None:
    renderer = ChatRenderer("7", usage=True)
    out = renderer.piece(PIECE) + renderer.failure(problem_of(Unavailable("gone"), retry_after=5))
    assert b"[DONE]" not in out
    assert events(out)[-1]["error"]["message"] == "gone"


def test_nothing_that_may_be_cached_is_changed() -> None:
    chunk, body = {**PIECE, "usage": USAGE}, {"id": "kept", "choices": []}
    renderer = ChatRenderer("7", usage=True)
    renderer.piece(chunk)
    assert renderer.whole(body)["id"] == "chatcmpl-7"
    assert (chunk, body) == ({**PIECE, "usage": USAGE}, {"id": "kept", "choices": []})


def test_embeddings_are_packed_when_asked_for() -> None:
    body = {"data": [{"index": 0, "embedding": [0.5, -2.0]}]}
    packed = EmbeddingRenderer(packed=True).whole(body)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (0.5, -2.0)
    assert EmbeddingRenderer(packed=False).whole(body) == body
    assert body["data"][0]["embedding"] == [0.5, -2.0]


def test_models_are_listed() -> None:
    listed = models_body([ServedModel(name="tiny", context=64)], created=5)
    assert listed == {
        "object": "list",
        "data": [{"id": "tiny", "object": "model", "created": 5, "owned_by": "colony", "max_model_len": 64}],
    }


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (BadInput("x"), 400, None, None),
        (ModelRefused("x"), 400, "model_refused", None),
        (PromptTooLong("x"), 400, "context_length_exceeded", None),
        (NotFound("x"), 404, "model_not_found", None),
        (KeyRefused("x"), 401, "invalid_api_key", None),
        (NotPermitted("x"), 403, "not_permitted", None),
        (Overloaded("x", retry_after=2.1), 429, "rate_limit_exceeded", 3),
        (Overloaded("x", retry_after=0.0), 429, "rate_limit_exceeded", 1),
        (Overloaded("x", retry_after=float("inf")), 429, "rate_limit_exceeded", 3600),
        (Overloaded("x"), 429, "rate_limit_exceeded", 5),
        (BudgetSpent("x"), 429, "budget_spent", None),
        (Unavailable("x"), 503, "unavailable", 5),
        (DeadlineExceeded("x"), 504, "deadline_exceeded", None),
        (TruncatedAnswer("x"), 502, "truncated_answer", None),
        (RequestRefused("x", status=413, code="request_too_large"), 413, "request_too_large", None),
        (RequestRefused("x", status=503), 503, None, 5),
        (ColonyError("x"), 500, "internal_error", None),
    ],
)
def test_errors_have_their_status(error: ColonyError, status: int, code: str | None, wait: int | None) -> None:
    problem = problem_of(error, retry_after=5)
    assert (problem.status, problem.code, problem.retry_after) == (status, code, wait)


def test_an_error_of_our_own_tells_nothing() -> None:
    problem = problem_of(ValueError("secret"), retry_after=5)
    assert problem.status == 500
    assert "secret" not in str(error_body(problem))


def test_the_error_shape() -> None:
    problem = problem_of(RequestRefused("no", param="n"), retry_after=5)
    assert error_body(problem) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": None}
    }
