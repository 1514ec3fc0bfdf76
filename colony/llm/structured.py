"""Answers in a shape: read, checked against a JSON schema, and repaired at most once."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import orjson

from colony.clock import Clock
from colony.errors import BadInput, DeadlineExceeded, ModelRefused, WrongAnswer
from colony.llm.port import ChatAnswer, ChatMessage, ChatRequest, LanguageModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jsonschema.exceptions import ValidationError

_SHOWN: Final = 300
_QUOTED: Final = 1_000
_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_OPENING: Final = re.compile(r"[{\[]")


class Reading(NamedTuple):
    """What was found in an answer; `fault` is empty when `data` fits the schema."""

    data: Any
    fault: str


def read_answer(text: str, schema: dict[str, Any]) -> Reading:
    """The JSON value in `text`, alone, in a code fence or after some words. Raises `BadInput` for a wrong schema."""
    from referencing.exceptions import Unresolvable

    validator = _validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    try:
        data = _json_in(text)
    except ValueError:
        return Reading(None, "it has no JSON value" if text.strip() else "it is empty")
    try:
        error = next(validator(data), None)
    except RecursionError:
        return Reading(None, "it is nested too deeply")
    except Unresolvable as error:
        raise BadInput(f"The schema refers to something it does not hold: {error}.") from None
    if error is None:
        return Reading(data, "")
    where = "/".join(str(part) for part in error.absolute_path)
    return Reading(None, f"{f'{where}: ' if where else ''}{error.message[:_SHOWN]}")


async def chat_structured(model: LanguageModel, request: ChatRequest, clock: Clock) -> ChatAnswer:
    """An answer whose `data` fits `request.json_schema`, which must be set.

    An answer that does not fit is shown to the model with what is wrong, once, in the time that is left. Raises
    `WrongAnswer` when it still does not fit, `BadInput` for a schema that is none, else as `LanguageModel.chat`.
    """
    schema = request.json_schema or {}
    _validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    started = clock.monotonic()
    first = await model.chat(request)
    reading = read_answer(first.text, schema)
    if not reading.fault:
        return first.model_copy(update={"data": reading.data})
    left = request.timeout - (clock.monotonic() - started)
    if left <= 0:
        raise DeadlineExceeded(f"No time was left to repair an answer: {reading.fault}.")
    second = await _repaired(model, request, first, reading.fault, left)
    again = read_answer(second.text, schema)
    if again.fault:
        raise WrongAnswer(
            f"The answer of {second.model or 'the model'} does not fit the schema: {again.fault}.",
            remedy="Use a larger model, or a simpler schema.",
            text=first.text,
        )
    return second.model_copy(
        update={
            "data": again.data,
            "calls": first.calls + second.calls,
            "prompt_tokens": first.prompt_tokens + second.prompt_tokens,
            "completion_tokens": first.completion_tokens + second.completion_tokens,
        }
    )


async def _repaired(
    model: LanguageModel, request: ChatRequest, first: ChatAnswer, fault: str, seconds: float
) -> ChatAnswer:
    turns = (
        ChatMessage(role="assistant", content=first.text[:_QUOTED] or "(nothing)"),
        ChatMessage(
            role="user", content=f"That is wrong: {fault}. Answer again with one JSON value that fits, nothing else."
        ),
    )
    try:
        return await model.chat(
            request.model_copy(update={"messages": (*request.messages, *turns), "timeout": seconds})
        )
    except ModelRefused as error:
        raise WrongAnswer(
            f"The answer of {first.model or 'the model'} does not fit the schema: {fault}.", text=first.text
        ) from error


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Callable[[Any], Iterator[ValidationError]]:
    """What is wrong with a value, by `schema`."""
    # Some megabytes and a tenth of a second, which only those pay who ask for a shape.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    decoded: dict[str, Any] = orjson.loads(schema)
    try:
        Draft202012Validator.check_schema(decoded)
    except SchemaError as error:
        raise BadInput(f"The schema is no JSON schema: {error.message[:_SHOWN]}.") from None
    # An empty registry: a reference never makes a request.
    validator: Any = Draft202012Validator(decoded, registry=cast("Any", Registry)())
    return validator.iter_errors


def _json_in(text: str) -> Any:
    """The first JSON value; raises `ValueError` when there is none."""
    fenced = _FENCED.search(text)
    inner = (fenced.group(1) if fenced else text).strip()
    try:
        return orjson.loads(inner)
    except orjson.JSONDecodeError:
        opening = _OPENING.search(inner)
        if opening is None:
            raise
    try:
        value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(inner, opening.start())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
