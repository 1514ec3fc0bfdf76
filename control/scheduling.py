"""Schedules for whoever asks for them: people at a terminal, and the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ray_app.gateway.api.fields import RequestRefused
from workflows.inputs import parse_input
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.monitor_contracts import MonitorInput
from workflows.monitor_input import parse
from workflows.opening import source_of
from workflows.retrying import retry_of
from workflows.schedules import Schedules, ScheduleView, Timing
from workflows.startable import Startable, unknown_name


def timing_of(fields: Mapping[str, Any], known: Mapping[str, Startable]) -> Timing:
    """When to start which template. Raises `RequestRefused` naming the field, `NotFound` for an unknown template."""
    try:
        timing = Timing.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise RequestRefused(f"{first['msg'].removeprefix('Value error, ')}.", param=field, status=422) from None
    if timing.template not in known:
        raise unknown_name(timing.template, known)
    return timing


def check_input(given: Mapping[str, Any], found: Startable) -> None:
    """Refuse an input with fields that a template does not take, or without those it needs; files may come later.

    What else is wrong a job finds out. Raises `BadInput` naming the field.
    """
    text = json.dumps(given)
    if found.name == MONITOR:
        parse(MonitorInput, text)
    elif found.template is not None and retry_of(text) is None:
        job, _ = parse_input(text, found.template)
        source_of(job, found.template)


async def create_schedule(
    schedules: Schedules, name: str, timing: Timing, given: dict[str, Any], known: Mapping[str, Startable]
) -> ScheduleView:
    """Make a schedule of something known; how it stands. Raises `AlreadyExists`, `BadInput`."""
    check_input(given, known[timing.template])
    await schedules.create(name, timing, given)
    return await schedules.show(name)
