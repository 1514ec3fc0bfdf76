"""Reading payloads and parameters: a wrong field is refused by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from agents.base import AgentTask
from colony.errors import BadInput

T = TypeVar("T", bound=BaseModel)


def unknown_action(task: AgentTask, actions: Mapping[str, str]) -> BadInput:
    """The refusal of an action that an agent does not know."""
    return BadInput(f"Unknown action {task.action[:64]!r}.", remedy=f"Use one of: {', '.join(sorted(actions))}.")


def parameters(task: AgentTask, model: type[T]) -> T:
    """The step's parameters as `model`; those it does not declare are left to others. Raises `BadInput`."""
    known = {name: value for name, value in task.parameters.items() if name in model.model_fields}
    try:
        return model.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"Parameter {where!r}: {first['msg']}.") from error


def text_of(payload: Mapping[str, Any], field: str = "text") -> str:
    """A field that must be text with something in it. Raises `BadInput`."""
    value = payload.get(field)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"Field {field!r} must be text that is not empty, not {_shown(value)}.")
    return value


def optional_number(payload: Mapping[str, Any], field: str) -> float | None:
    """A field that may be absent or empty, else a number (or text of one). Raises `BadInput`."""
    value = payload.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise BadInput(f"Field {field!r} must be a number, not {_shown(value)}.")


def whole_number(payload: Mapping[str, Any], field: str, *, least: int = 0, default: int | None = None) -> int:
    """A field that must be a whole number of at least `least`. Raises `BadInput`."""
    value = payload.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadInput(f"Field {field!r} must be a whole number of at least {least}, not {_shown(value)}.")
    return value


def list_of(payload: Mapping[str, Any], field: str) -> Sequence[Any]:
    """A field that must be a list with something in it. Raises `BadInput`."""
    value = payload.get(field)
    if isinstance(value, list | tuple) and value:
        return cast("Sequence[Any]", value)
    raise BadInput(f"Field {field!r} must be a list that is not empty, not {_shown(cast(object, value))}.")


def texts_of(payload: Mapping[str, Any], field: str = "texts") -> list[str]:
    """A field that must be a list of texts. Raises `BadInput`."""
    values = list_of(payload, field)
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise BadInput(f"Field '{field}[{index}]' must be text, not {_shown(value)}.")
    return [str(value) for value in values]


def numbers_of(payload: Mapping[str, Any], field: str) -> list[float]:
    """A field that must be a list of numbers. Raises `BadInput`."""
    values = list_of(payload, field)
    found: list[float] = []
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(f"Field '{field}[{index}]' must be a number, not {_shown(value)}.")
        found.append(float(value))
    return found


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]
