"""Envelopes as bytes: JSON, versioned, bounded in size and nesting. Pure functions, no I/O."""

from __future__ import annotations

from typing import Any, Final, cast

import orjson
from pydantic import ValidationError

from colony.errors import BadInput
from colony.messaging.port import MAX_ENVELOPE, Envelope

VERSION: Final = 1
"""The one version of the envelope this code speaks."""

MAX_NESTING: Final = 64
"""Most levels of lists and objects inside each other, the envelope itself included."""

_validate = Envelope.__pydantic_validator__.validate_python  # what model_validate calls, a third faster


def encode(envelope: Envelope) -> bytes:
    """The bytes that travel; fields that were not set are left out. Infinities and NaN become null.

    Raises `BadInput` when the envelope cannot be written as JSON, is larger than `MAX_ENVELOPE` or nested too deep.
    """
    if not envelope.kind or envelope.version != VERSION:
        raise BadInput(f"A message needs a kind and the version {VERSION}.")
    # Only what was set, and without a loop over all fields: this is the hot path.
    values = envelope.__dict__
    fields: dict[str, Any] = {name: values[name] for name in envelope.__pydantic_fields_set__}
    fields["version"] = VERSION
    try:
        data = orjson.dumps(fields)
    except (TypeError, RecursionError) as error:
        raise BadInput(f"The payload of a {envelope.kind[:64]!r} message is not JSON: {str(error)[:200]}.") from error
    if len(data) > MAX_ENVELOPE:
        raise BadInput(
            f"A message of {len(data)} bytes is larger than the {MAX_ENVELOPE} allowed.",
            remedy="Keep large data in the ledger and send its key.",
        )
    if _may_nest_deep(data) and _nesting(fields) > MAX_NESTING:
        raise BadInput(f"A message is nested deeper than {MAX_NESTING} levels.")
    return data


def decode(data: bytes) -> Envelope:
    """What `encode` wrote. Raises `BadInput` on anything else; the message never repeats the content."""
    if len(data) > MAX_ENVELOPE:
        raise BadInput(f"A message of {len(data)} bytes is larger than the {MAX_ENVELOPE} allowed.")
    try:
        fields: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"A message is not JSON: {error.msg[:120]}.") from None
    try:
        envelope = _validate(fields, strict=True)
    except ValidationError as error:
        raise _refusal(fields, error) from None
    if "version" not in fields or envelope.version != VERSION or not envelope.kind:
        raise _refusal(fields, None)
    if _may_nest_deep(data) and _nesting(fields) > MAX_NESTING:
        raise BadInput(f"A message is nested deeper than {MAX_NESTING} levels.")
    return envelope


def _refusal(fields: Any, error: ValidationError | None) -> BadInput:
    """Why a message is no envelope."""
    if not isinstance(fields, dict):
        return BadInput("A message is not a JSON object.")
    version = cast("dict[str, Any]", fields).get("version")
    if type(version) is not int or version != VERSION:
        return BadInput(f"A message has the version {str(version)[:20]}; only {VERSION} is understood.")
    if error is None:
        return BadInput("A message does not say its kind.")
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:80]
    return BadInput(f"A message has a wrong field {where!r}: {first['msg'][:120]}.")


def _may_nest_deep(data: bytes) -> bool:
    """A cheap look that spares nearly every message the walk: depth needs as many opening brackets."""
    return data.count(b"{") + data.count(b"[") > MAX_NESTING


def _nesting(value: Any) -> int:
    """Levels of lists and objects, found without recursion; stops just above the limit."""
    depth = 0
    level: list[Any] = [value]
    while level and depth <= MAX_NESTING:
        below: list[Any] = []
        found = False
        for item in level:
            if isinstance(item, dict):
                found = True
                below.extend(cast("dict[str, Any]", item).values())
            elif isinstance(item, list | tuple):
                found = True
                below.extend(cast("list[Any]", item))
        depth += found
        level = below
    return depth
