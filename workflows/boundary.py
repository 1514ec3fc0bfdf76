"""The one boundary where what a caller handed to a workflow is decoded. Pure; raises `BadInput` or `Unreadable`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from colony.errors import BadInput, Unreadable
from workflows.contracts import Answer, ParentNote, Resume
from workflows.policies import MAX_INPUT

_REMEDY = 'Hand in one JSON object, such as {"source": "reviews.csv"}.'


def input_text(payloads: Sequence[Payload]) -> str:
    """The JSON text of a job's input: exactly one argument, a JSON object of at most 64 KiB."""
    if len(payloads) != 1:
        raise BadInput(f"The workflow takes one argument, not {len(payloads)}.", remedy=_REMEDY)
    payload = payloads[0]
    encoding = payload.metadata.get("encoding", b"")
    if encoding != b"json/plain":
        raise BadInput(f"The input is encoded as {encoding[:40]!r}, not as JSON.", remedy=_REMEDY)
    if len(payload.data) > MAX_INPUT:
        raise BadInput(
            f"The input has {len(payload.data):,} bytes; at most {MAX_INPUT:,} are allowed.",
            remedy="Put the data into a file below a data root and name it as source.",
        )
    try:
        text = payload.data.decode("utf-8")
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The input is not JSON: {str(error)[:200]}.", remedy=_REMEDY) from None
    if not isinstance(value, dict):
        raise BadInput(f"The input is a JSON {_KINDS.get(type(value), 'value')}, not an object.", remedy=_REMEDY)
    return text


def resume_of(payloads: Sequence[Payload]) -> Resume | None:
    """What the run before handed over, or None when this is the input of a user (a retry or cron run).

    Raises `Unreadable` for a hand-over that another build wrote in a way this one cannot read.
    """
    if len(payloads) != 1 or b'"colony-1"' not in payloads[0].data:
        return None
    try:
        value: object = json.loads(payloads[0].data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or cast("dict[str, object]", value).get("resume") != "colony-1":
        return None
    try:
        return Resume.model_validate_json(payloads[0].data)
    except ValidationError as error:
        raise handed_over_badly(error) from None


def handed_over_badly(error: ValidationError) -> Unreadable:
    """What a job fails with whose hand-over from the run before does not parse."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:60] for part in first["loc"][:4]) or "it"
    return Unreadable(
        f"What the run before handed over cannot be read by this build: {where!r}: {first['msg'][:200]}.",
        remedy="Start a worker of the build it comes from, and start the job again.",
    )


def parent_of(memo: object) -> ParentNote | None:
    """What a job handed to one that it started; None for what is none of ours."""
    try:
        return ParentNote.model_validate(memo)
    except ValidationError:
        return None


def answer_of(given: Sequence[Any]) -> Answer:
    """What a person said to an approval: one object, or nothing for a plain yes. Raises `BadInput`."""
    if len(given) > 1:
        raise BadInput(f"An answer is one object, not {len(given)} values.", remedy=_ANSWER)
    try:
        return Answer() if not given or given[0] is None else Answer.model_validate(given[0])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"][:4]) or "the answer"
        raise BadInput(f"The field {where!r} is wrong: {first['msg'][:200]}.", remedy=_ANSWER) from None


_ANSWER = 'Hand in {"step": NAME, "approve": true or false, "comment": TEXT, "by": NAME}; all may be left out.'
_KINDS: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    type(None): "null",
}
