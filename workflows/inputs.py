"""The typed inputs of a template: what a caller hands in, checked field by field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pydantic import ValidationError

from colony.config.templates import InputConfig, TemplateConfig
from colony.errors import BadInput
from colony.ids import Id
from workflows.contracts import JobInput

MOST_SHOWN: Final = 60


def parse_input(text: str, template: TemplateConfig) -> tuple[JobInput, dict[str, Any]]:
    """What every job may be given, and the values of the template's own inputs, defaults in place.

    Raises `BadInput` naming the field that is wrong.
    """
    given = cast("dict[str, Any]", json.loads(text))
    own = {str(name): given.pop(name) for name in list(given) if name in template.inputs}
    try:
        job = JobInput.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise _refused(error, template) from None
    return job, input_values(own, template.inputs)


def input_values(given: Mapping[str, Any], declared: Mapping[Id, InputConfig]) -> dict[str, Any]:
    """The value of each declared input. Raises `BadInput` naming the one that is wrong or missing."""
    values: dict[str, Any] = {}
    for key, config in declared.items():
        name = str(key)
        value = given.get(name, config.default)
        if value is None:
            if config.required:
                raise BadInput(f"The input field {name!r} is missing.", remedy=_about(name, config))
            values[name] = None
            continue
        problem = wrong_with(value, config)
        if problem:
            raise BadInput(f"The input field {name!r} {problem}.", remedy=_about(name, config))
        values[name] = value
    return values


def wrong_with(value: Any, config: InputConfig) -> str:
    """What is wrong with a value, to stand after its name; empty when nothing is."""
    if not _CHECKS[config.type](value):
        return f"is {_kind(value)}, not {_A[config.type]}"
    if config.choices and value not in config.choices:
        return f"is none of {', '.join(str(choice)[:40] for choice in config.choices[:20])}"
    if config.type in ("integer", "number"):
        size, what = float(value), "is"
    elif config.type in ("string", "path", "list", "object"):
        size, what = float(len(value)), "has a length of"
    else:
        return ""
    if config.minimum is not None and size < config.minimum:
        return f"{what} {size:g}, less than {config.minimum:g}"
    if config.maximum is not None and size > config.maximum:
        return f"{what} {size:g}, more than {config.maximum:g}"
    return ""


def _refused(error: ValidationError, template: TemplateConfig) -> BadInput:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:60] for part in first["loc"][:4]) or "the object"
    if first["type"] == "extra_forbidden":
        known = [*template.inputs, *JobInput.model_fields]
        return BadInput(f"The input has the unknown field {where!r}.", remedy=f"Known fields: {', '.join(known)}.")
    return BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.")


def _about(name: str, config: InputConfig) -> str:
    return f"{name} is {_A[config.type]}{f': {config.description}' if config.description else ''}".rstrip(".") + "."


def _kind(value: Any) -> str:
    for kind in ("boolean", "integer", "number", "string", "list", "object"):
        if _CHECKS[kind](value):
            return _A[kind]
    return "nothing JSON knows"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is(kind: type) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return isinstance(value, kind)

    return check


_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": _is(str),
    "path": _is_path,
    "integer": _is_whole,
    "number": _is_number,
    "boolean": _is(bool),
    "list": _is(list),
    "object": _is(dict),
}
_A: Final = {
    "string": "a text",
    "path": "a path below a data root",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
}
