"""From an error to a problem (RFC 9457). Pure but for the answer object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from colony.errors import (
    AlreadyExists,
    BadInput,
    Cancelled,
    ColonyError,
    DeadlineExceeded,
    NoResponders,
    NotFound,
    NotPermitted,
    Overloaded,
    Transient,
    Unavailable,
    Unreadable,
)
from control.api.models import Problem
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.problems import KeyRefused

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER: Final = 2
"""Seconds, where nobody knows better."""

_STATUS: Final[tuple[tuple[type[ColonyError], int], ...]] = (
    (KeyRefused, 401),
    (NotFound, 404),
    (AlreadyExists, 409),
    (NotPermitted, 403),
    (Cancelled, 409),
    (BadInput, 422),
    (Unreadable, 422),
    (Overloaded, 503),
    (DeadlineExceeded, 504),
    (NoResponders, 504),
    (Unavailable, 503),
    (Transient, 503),
)
"""The first class that fits wins; what none fits is what somebody else's code reported: 502."""

_BAD_GATEWAY: Final = 502


def problem_of(error: BaseException) -> Problem:
    """What a client is told; of an error outside the family nothing but that there was one."""
    if isinstance(error, RequestRefused):
        return _problem(error.status, error, field=error.param)
    if isinstance(error, ColonyError):
        status = next((code for family, code in _STATUS if isinstance(error, family)), _BAD_GATEWAY)
        return _problem(status, error, retry_after=_wait(error) if status == HTTPStatus.SERVICE_UNAVAILABLE else None)
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        refused = NotFound if error.status_code == HTTPStatus.NOT_FOUND else BadInput
        return _problem(error.status_code, refused(f"{HTTPStatus(error.status_code).phrase}."))
    return Problem(
        type="urn:colony:error:InternalError",
        title="Internal Server Error",
        status=500,
        detail="The API failed; its log says why.",
        error="InternalError",
        remedy="Look at `colony logs api`.",
    )


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as an answer."""
    more = dict(headers or {})
    if problem.retry_after is not None:
        more["Retry-After"] = str(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = "Bearer"
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, headers=more, media_type=MEDIA_TYPE)


def _problem(status: int, error: ColonyError, *, field: str | None = None, retry_after: int | None = None) -> Problem:
    name = (error.code or BadInput.__name__) if isinstance(error, RequestRefused) else type(error).__name__
    if isinstance(error, KeyRefused):
        name = NotPermitted.__name__
    return Problem(
        type=f"urn:colony:error:{name}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        error=name,
        remedy=error.remedy,
        field=field,
        retry_after=retry_after,
    )


def _wait(error: ColonyError) -> int:
    known = error.retry_after if isinstance(error, Overloaded) else None
    return RETRY_AFTER if known is None or not math.isfinite(known) else max(1, math.ceil(known))


def _of_validation(error: RequestValidationError) -> Problem:
    first: dict[str, Any] = error.errors()[0]
    where = [str(part)[:80] for part in first["loc"]]
    field = ".".join(where[1:6]) or where[0]
    message = f"{field!r} is wrong: {str(first['msg'])[:300]}."
    if first["type"] == "extra_forbidden":
        message = f"There is no field {field!r}."
    return _problem(422, BadInput(message, remedy="See /openapi.json."), field=field)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What to say in OpenAPI of the problems a path may answer with, besides those all may."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in sorted({*statuses, 401, 403, 422, 500, 503, 504})
    }
