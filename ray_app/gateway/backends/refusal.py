"""What a model server's refusal stands for: statuses and bodies to errors. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, cast

import orjson

from colony.errors import BudgetSpent, ColonyError, ModelRefused, NotFound, NotPermitted, PromptTooLong, Unavailable
from colony.llm.openai_format import error_of
from ray_app.gateway.contracts import Kind

_TOO_LONG: Final = (b"exceed_context_size_error", b"context_length_exceeded", b"is too large to process")
"""What llama.cpp says of long prompts and inputs, at times with status 500."""

_TOO_LONG_REFUSED: Final = b"maximum context length is"
"""What vLLM says, as OpenAI does, but without a code; only ever with status 400."""

_UNKNOWN_MODEL: Final = b"model_not_found"


def refusal_of(status: int, body: bytes, retry_after: str = "", *, page: bool = False) -> ColonyError:
    """The error that an answer of `status` stands for; `retry_after` is the header of that name.

    With `page`, what was asked for need not be there. Else a 404 without a word is that of a proxy: no model server.
    """
    if status == HTTPStatus.NOT_FOUND and not _explains(body):
        if page:
            return NotFound("The model server has no such page (404).")
        return Unavailable(
            "The model server has no such page (404).", remedy="Check the URL of the backend: it ends before `/v1`."
        )
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return NotFound("The model server cannot do this (501).")
    too_long = any(word in body for word in _TOO_LONG)
    too_long |= status == HTTPStatus.BAD_REQUEST and _TOO_LONG_REFUSED in body
    error = error_of(HTTPStatus.BAD_REQUEST if too_long else status, body, retry_after)
    if too_long and isinstance(error, ModelRefused):
        return PromptTooLong(error.message, remedy="Shorten it, or use a model with a longer context.")
    if isinstance(error, NotPermitted):
        return NotPermitted(error.message, remedy="Check key_file of the backend in agent_config.yaml.")
    if isinstance(error, BudgetSpent):
        # Of our account there, not of the caller's job: another backend can still answer.
        return Unavailable("Our account at the model server has no tokens left.", remedy="See that it is paid for.")
    if type(error) is ModelRefused and (status == HTTPStatus.NOT_FOUND or _UNKNOWN_MODEL in body):
        return NotFound(error.message)
    return error


def no_classes(kind: str) -> ModelRefused:
    """A backend of this kind was asked to classify."""
    return ModelRefused(
        f"A backend of kind {kind!r} does not classify.",
        remedy="Name a model of a backend of kind 'vllm' that serves a classifier.",
    )


def not_streamed(kind: Kind) -> ModelRefused:
    """A stream was asked of what has none."""
    return ModelRefused(f"{kind.value.capitalize()}s are not streamed.")


def told_refusal(said: Any) -> tuple[int, bytes]:
    """Status and body of a refusal that came with status 200, in the `error` of a body or of a stream."""
    code = cast("dict[str, Any]", said).get("code") if isinstance(said, dict) else None
    usable = isinstance(code, int) and HTTPStatus.BAD_REQUEST <= code < 600
    return code if usable and isinstance(code, int) else HTTPStatus.BAD_GATEWAY, orjson.dumps({"error": said})


def _explains(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False
