"""Checks of single request fields, by tables: quicker than models, and every refusal names its field. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

import orjson

from colony.errors import BadInput

MAX_DEPTH: Final = 100
"""Deepest nesting of a request body; schemas of real tools stay below 30."""

Check = Callable[[str, Any], None]
"""Raises `RequestRefused` when the value is wrong; gets the field's name."""


class RequestRefused(BadInput):
    """The request itself is wrong: `param` names the field, `status` and `code` go into the answer."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code


def wrong(param: str, expected: str, value: Any) -> RequestRefused:
    """The refusal of one field, its value cut short."""
    return RequestRefused(f"'{param}' must be {expected}, not {shown(value)}.", param=param)


def shown(value: Any) -> str:
    """A value for a message: at most 80 characters; of containers only the kind."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(value[:80])
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)[:80]


def decoded(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Refuses NaN, Infinity, numbers beyond them, broken text and deep nesting."""
    try:
        value: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"The body is not JSON: {error}.", code="invalid_json") from error
    if not isinstance(value, dict):
        raise RequestRefused(f"The body must be a JSON object, not {shown(value)}.", code="invalid_json")
    body = cast("dict[str, Any]", value)
    _refuse_depth(body)
    return body


_CONTAINERS: Final = frozenset({dict, list})


def _refuse_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            values: Iterable[Any] = cast("dict[str, Any]", container).values() if type(container) is dict else container
            inner.extend(value for value in values if type(value) in _CONTAINERS)
        if not inner:
            return
        level = inner
    raise RequestRefused(f"The body is nested deeper than {MAX_DEPTH} levels.", code="invalid_json")


def checked(body: Mapping[str, Any], known: Mapping[str, Check], dropped: frozenset[str]) -> dict[str, Any]:
    """The fields of `body` that are `known`, each checked; null means not given, as in OpenAI's interface.

    Refuses a field that is neither known nor `dropped`: passed over in silence, it would promise what nobody keeps.
    """
    kept: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in dropped:
            continue
        check = known.get(name)
        if check is None:
            raise RequestRefused(f"Unrecognized request argument supplied: {name[:80]}", param=name[:80])
        check(name, value)
        kept[name] = value
    return kept


def number(low: float, high: float) -> Check:
    """A number from `low` to `high`."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "a number", value)
        if not low <= value <= high:
            raise wrong(name, f"between {low:g} and {high:g}", value)

    return check


def integer(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(name, "an integer", value)
        if not low <= value <= high:
            raise wrong(name, f"between {low} and {high}", value)

    return check


def flag(name: str, value: Any) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)


def text(name: str, value: Any) -> None:
    """A string."""
    if not isinstance(value, str):
        raise wrong(name, "a string", value)


def mapping(name: str, value: Any) -> None:
    """An object."""
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)


def either(*checks: Check) -> Check:
    """What one of `checks` takes; the refusal is that of the last."""

    def check(name: str, value: Any) -> None:
        for attempt in checks[:-1]:
            try:
                return attempt(name, value)
            except RequestRefused:
                continue
        return checks[-1](name, value)

    return check


def one_of(*words: str) -> Check:
    """One of some words."""

    def check(name: str, value: Any) -> None:
        if value not in words:
            raise wrong(name, f"one of {', '.join(words)}", value)

    return check


def list_of(each: Check, *, most: int, least: int = 1) -> Check:
    """A list of `least` to `most` values."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list):
            raise wrong(name, "a list", value)
        values = cast("list[Any]", value)
        if not least <= len(values) <= most:
            raise RequestRefused(f"'{name}' must hold {least} to {most} values, not {len(values)}.", param=name)
        for index, entry in enumerate(values):
            each(f"{name}[{index}]", entry)

    return check
