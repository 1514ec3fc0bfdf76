"""From an error to status, code and words of an answer. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from colony.errors import (
    AlreadyExists,
    BadInput,
    BudgetSpent,
    Cancelled,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from ray_app.gateway.api.fields import RequestRefused


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told."""

    status: int
    kind: str
    """OpenAI's `type`."""
    code: str | None
    message: str
    param: str | None = None
    retry_after: int | None = None
    """Seconds; only with 429 and 503."""
    final: bool = False
    """Whether clients that retry this status by themselves should not."""


_KINDS: tuple[tuple[type[ColonyError], int, str, str | None], ...] = (
    (PromptTooLong, 400, "invalid_request_error", "context_length_exceeded"),
    (ModelRefused, 400, "invalid_request_error", "model_refused"),
    (BadInput, 400, "invalid_request_error", None),
    (NotFound, 404, "invalid_request_error", "model_not_found"),
    (AlreadyExists, 409, "invalid_request_error", "request_id_in_use"),
    (NotPermitted, 403, "permission_error", "not_permitted"),
    (Overloaded, 429, "rate_limit_error", "rate_limit_exceeded"),
    (BudgetSpent, 429, "insufficient_quota", "budget_spent"),
    (Cancelled, 409, "invalid_request_error", "cancelled"),
    (DeadlineExceeded, 504, "timeout_error", "deadline_exceeded"),
    (TruncatedAnswer, 502, "server_error", "truncated_answer"),
    (Unavailable, 503, "server_error", "unavailable"),
)
"""The first class that fits wins."""


class KeyRefused(NotPermitted):
    """The API key is missing or wrong: 401 instead of 403."""


def problem_of(error: BaseException, *, retry_after: float) -> Problem:
    """What to tell the client; of an error outside the family nothing but that there was one."""
    if isinstance(error, RequestRefused):
        wait = _seconds(retry_after) if error.status == 503 else None
        return Problem(error.status, "invalid_request_error", error.code, str(error), error.param, wait)
    if isinstance(error, KeyRefused):
        return Problem(401, "authentication_error", "invalid_api_key", str(error))
    for family, status, kind, code in _KINDS:
        if isinstance(error, family):
            known = error.retry_after if isinstance(error, Overloaded) else None
            waits = status == 503 or isinstance(error, Overloaded)
            wait = _seconds(retry_after if known is None else known) if waits else None
            return Problem(status, kind, code, str(error), None, wait, isinstance(error, BudgetSpent))
    return Problem(500, "server_error", "internal_error", "The gateway failed; its log says why.")


def _seconds(wait: float) -> int:
    return max(1, math.ceil(wait)) if math.isfinite(wait) else 3600
