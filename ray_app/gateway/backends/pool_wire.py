"""The control API of the model pool over HTTP, errors as ours. What is said is in `colony.llm.pool`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    Unavailable,
    by_name,
)
from colony.llm.pool import Lease, PoolFault, PoolModelState, PoolState

M = TypeVar("M", bound=BaseModel)

ASK_SECONDS: Final = 10.0

_PASSED_ON: Final = (NotFound, ModelRefused, NotPermitted, Unavailable, DeadlineExceeded)


class _Refusal(BaseModel):
    error: PoolFault


class PoolWire:
    """One pool. Every call has a deadline; nothing is tried twice.

    All calls raise `Unavailable` (no answer, or the model's file is no good), `DeadlineExceeded`, `NotPermitted`,
    `NotFound` (no such model); loading also `ModelRefused` (it never fits) and `Overloaded` (it does not fit now).
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def state(self) -> PoolState:
        """The whole pool."""
        return await self._asked(PoolState, "GET", "/pool", None, ASK_SECONDS)

    async def load(self, model: str, lease: Lease, *, seconds: float) -> PoolModelState:
        """Wait until the model is loaded and leased."""
        return await self._asked(PoolModelState, "POST", f"/pool/{quote(model, safe='')}/load", lease, seconds)

    async def touch(self, model: str, lease: Lease) -> PoolModelState:
        """Renew a lease; raises `Unavailable` when the model is not loaded any more."""
        return await self._asked(PoolModelState, "POST", f"/pool/{quote(model, safe='')}/touch", lease, ASK_SECONDS)

    async def _asked(self, kind: type[M], method: str, path: str, body: BaseModel | None, seconds: float) -> M:
        content: Any = None if body is None else body.model_dump_json()
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.request(method, path, content=content)
        except TimeoutError:
            raise DeadlineExceeded(f"The model pool gave no answer in {seconds:.0f} s.") from None
        except httpx.TransportError as error:
            raise Unavailable(f"The model pool does not answer: {type(error).__name__}.") from error
        if response.status_code != HTTPStatus.OK:
            raise refusal(response.status_code, response.content)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise Unavailable("The model pool answered with something else than its state.") from error


def refusal(status: int, content: bytes) -> ColonyError:
    """The error the pool answered with. A bad file is the operator's: for callers the model is not there."""
    try:
        fault = _Refusal.model_validate(orjson.loads(content)).error
    except (orjson.JSONDecodeError, ValidationError):
        return Unavailable(f"The model pool answered {status} with something that is no error of its own.")
    kind = by_name(fault.type)
    if kind is Overloaded:
        return Overloaded(fault.message, remedy=fault.remedy, retry_after=fault.retry_after)
    return (kind if kind in _PASSED_ON else Unavailable)(fault.message, remedy=fault.remedy)
