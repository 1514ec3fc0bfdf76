"""What the schema knows about a location: type and known keys, for messages and for reading the environment. Pure."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel

from colony.config.model import Config
from colony.config.yaml_lines import Location


def type_at(location: Location) -> Any:
    """The annotation of the field at `location` of the configuration; None when there is no such field."""
    current: Any = Config
    for part in location:
        current = _step(current, part)
        if current is None:
            return None
    return current


def known_keys(location: Location) -> tuple[str, ...]:
    """Keys the section at `location` may have; empty when any key is fine or there is no such section."""
    found = type_at(location)
    return tuple(found.model_fields) if _is_model(found) else ()


def nearest(word: str, known: Iterable[str]) -> str:
    """The known key that `word` was most likely meant to be; empty when none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def _step(current: Any, part: str | int) -> Any:
    if _is_model(current):
        field = cast("type[BaseModel]", current).model_fields.get(str(part))
        return None if field is None else _without_none(field.annotation)
    arguments = get_args(current)
    origin = get_origin(current)
    if origin is dict and len(arguments) == 2:
        return _without_none(arguments[1])
    if origin is tuple and arguments:
        return _without_none(arguments[0])
    return None


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation
