"""The typed inputs of a template: what a caller hands in, checked field by field. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from colony.config.fields import nearest
from colony.config.templates import InputConfig, TemplateConfig
from colony.errors import BadInput
from colony.ids import Id
from workflows.contracts import JobInput

_LARGEST: Final = sys.float_info.max


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


def check_given(given: Mapping[str, Any], read: Collection[str], template: TemplateConfig, *, settled: bool) -> None:
    """What a step hands to the job it calls, judged as far as it is known before that job begins.

    `read` are fields whose values earlier steps leave. Unless `settled`, None stands for what nobody knows yet. Raises
    `BadInput` for a field the template does not know, one it requires that is missing, and a value of a wrong type.
    """
    known = [*map(str, template.inputs), *JobInput.model_fields]
    for name in (*given, *read):
        if name not in known:
            raise BadInput(f"The input has the unknown field {name[:60]!r}.", remedy=_known_fields(name, known))
    there = {*read, *(name for name, value in given.items() if value is not None or not settled)}
    for name, config in template.inputs.items():
        if config.required and config.default is None and name not in there:
            raise BadInput(f"The input field {str(name)!r} is missing.", remedy=_about(str(name), config))
    if template.steps[0].rows is None and not {"source", "tasks"} & there:
        raise BadInput("The input names no source.", remedy="Give `source` or `tasks`.")
    if template.steps[0].rows is not None and any(given.get(name) is not None for name in ("source", "tasks")):
        raise BadInput("The template takes its rows from its own inputs.", remedy="Leave out `source` and `tasks`.")
    values = {name: value for name, value in given.items() if value is not None and (settled or not _has_none(value))}
    for name in [each for each in values if each in template.inputs]:
        config = template.inputs[Id(name)]
        problem = wrong_with(values.pop(name), config)
        if problem:
            raise BadInput(f"The input field {name!r} {problem}.", remedy=_about(name, config))
    try:
        JobInput.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise _refused(error, template) from None


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
        known = [*map(str, template.inputs), *JobInput.model_fields]
        return BadInput(f"The input has the unknown field {where!r}.", remedy=_known_fields(where, known))
    return BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.")


def _known_fields(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f"{f'Did you mean {near!r}? ' if near else ''}Known fields: {', '.join(known)}."


def _has_none(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_none(each) for each in cast("dict[str, Any]", value).values())
    return value is None or (isinstance(value, list) and any(_has_none(each) for each in cast("list[Any]", value)))


def _about(name: str, config: InputConfig) -> str:
    return f"{name} is {_A[config.type]}{f': {config.description}' if config.description else ''}".rstrip(".") + "."


def _kind(value: Any) -> str:
    for kind in ("boolean", "integer", "number", "string", "list", "object"):
        if _CHECKS[kind](value):
            return _A[kind]
    return "a number too large" if isinstance(value, int) else "nothing JSON knows"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


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
