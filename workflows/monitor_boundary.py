"""What a caller handed to `website_monitor`, decoded. Pure; raises `BadInput` or `Unreadable`."""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import ValidationError

from colony.errors import BadInput
from workflows.boundary import handed_over_badly
from workflows.monitor_contracts import MonitorResume
from workflows.policies import MAX_INPUT


def input_text(given: tuple[Any, ...]) -> str:
    """The JSON text of what a user handed in: exactly one object."""
    remedy = 'Hand in one JSON object, such as {"sites": [{"url": "https://example.com"}]}.'
    if len(given) != 1 or not isinstance(given[0], dict):
        raise BadInput("The workflow takes one argument, a JSON object.", remedy=remedy)
    text = json.dumps(given[0])
    if len(text) > MAX_INPUT:
        raise BadInput(
            f"The input has {len(text):,} bytes; at most {MAX_INPUT:,} are allowed.",
            remedy="List the sites in a file below a data root and name it as source.",
        )
    return text


def resumed_of(given: tuple[Any, ...]) -> MonitorResume | None:
    """What the run before handed over, or None when this is the input of a user (a retry or cron run).

    Raises `Unreadable` for a hand-over that another build wrote in a way this one cannot read.
    """
    if len(given) != 1 or not isinstance(given[0], dict):
        return None
    value = cast("dict[str, object]", given[0])
    if value.get("resume") != "monitor-1":
        return None
    try:
        return MonitorResume.model_validate(value)
    except ValidationError as error:
        raise handed_over_badly(error) from None
