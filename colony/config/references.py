"""Values in a template that stand for inputs and for what earlier steps left: whole values, no text templates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import ValidationError

from colony.config.templates import Reference
from colony.errors import BadInput

INPUT: Final = "$input"
STEP: Final = "$step"


def with_inputs(value: Any, inputs: Mapping[str, Any], known: Mapping[str, Any], where: str) -> Any:
    """`value` with each `{"$input": NAME}` in it replaced.

    `known` are the inputs that may be named; one that `inputs` lacks becomes None. Raises `BadInput`.
    """
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if INPUT in fields:
            return inputs.get(_input_name(fields, known, where))
        if STEP in fields:
            raise BadInput(f"{where}: `{STEP}` can only stand as a whole parameter.")
        return {name: with_inputs(each, inputs, known, f"{where}.{name}") for name, each in fields.items()}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [with_inputs(each, inputs, known, f"{where}.{at}") for at, each in enumerate(items)]
    return value


def step_reference(value: Any, where: str) -> Reference | None:
    """The reference that `value` is, of the form `{"$step": NAME, "field" or "count": ...}`; None for other values.

    Raises `BadInput` for one that is not right.
    """
    if not isinstance(value, Mapping) or STEP not in value:
        return None
    fields = dict(cast("Mapping[str, Any]", value))
    try:
        return Reference.model_validate({"step": fields.pop(STEP), **fields})
    except (ValidationError, TypeError):
        raise BadInput(
            f'{where}: this reference is not right; write {{"{STEP}": NAME, "field": PATH}} or "count".'
        ) from None


def _input_name(fields: Mapping[str, Any], known: Mapping[str, Any], where: str) -> str:
    name = fields[INPUT]
    if len(fields) > 1 or not isinstance(name, str):
        raise BadInput(f'{where}: this reference is not right; write {{"{INPUT}": NAME}}.')
    if name not in known:
        raise BadInput(
            f"{where}: there is no input {name[:80]!r}.", remedy=f"Inputs: {', '.join(known) or 'none declared'}."
        )
    return name
