"""Whether a value is what a condition wants. Pure; used by the workflow, so without surprises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from colony.errors import BadInput, Unreadable
from colony.jobs import Condition


def holds(condition: Condition, value: Any) -> bool:
    """Whether all that the condition names is so.

    Raises `BadInput` for a bound on what is no number, `Unreadable` for what only a newer build can tell.
    """
    if condition.model_extra:
        unknown = ", ".join(repr(name[:60]) for name in list(condition.model_extra)[:4])
        raise Unreadable(
            f"The plan's condition {unknown} is not known to this build.",
            remedy="Start a worker of the build that opened the job, then `colony retry`.",
        )
    checks = (
        condition.given is None or condition.given == (value is not None),
        condition.equals is None or _same(value, condition.equals),
        condition.differs is None or not _same(value, condition.differs),
        condition.is_in is None or any(_same(value, each) for each in condition.is_in),
        condition.at_least is None or _number(value, "at_least") >= condition.at_least,
        condition.at_most is None or _number(value, "at_most") <= condition.at_most,
    )
    return all(checks)


def at_path(value: Any, path: str) -> Any:
    """The part of `value` a dotted path leads to; None where it leads nowhere. Positions in lists are numbers."""
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = cast("Mapping[str, Any]", value).get(part)
        elif isinstance(value, Sequence) and not isinstance(value, str) and part.isascii() and part.isdigit():
            items = cast("Sequence[Any]", value)
            value = items[int(part)] if int(part) < len(items) else None
        else:
            return None
    return value


def _same(left: Any, right: Any) -> bool:
    """Equal, but true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _number(value: Any, bound: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise BadInput(f"{bound} needs a number, and the value is {type(value).__name__}.")
    return float(value)
