"""Schedules for whoever asks for them: people at a terminal, and the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ray_app.gateway.api.fields import RequestRefused
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


async def create_schedule(schedules: Schedules, name: str, timing: Timing, given: dict[str, Any]) -> ScheduleView:
    """Make a schedule; how it stands. Raises `AlreadyExists`, `BadInput`."""
    await schedules.create(name, timing, given)
    return await schedules.show(name)
