"""The one boundary where what a caller handed to a workflow is decoded. Pure; raises `BadInput` and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from colony.errors import BadInput
from workflows.contracts import Resume
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
    """What the run before handed over, or None when this is the input of a user (a retry or cron run)."""
    if len(payloads) != 1 or b'"colony-1"' not in payloads[0].data:
        return None
    try:
        return Resume.model_validate_json(payloads[0].data)
    except ValidationError:
        return None


_KINDS: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    type(None): "null",
}
