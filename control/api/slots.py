"""Connections that may come later: what needs one is told `Unavailable` until it is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import structlog

from colony.errors import ColonyError, Unavailable

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Slot(Generic[T]):
    """Holds one connection while `keep` runs."""

    def __init__(self, what: str, value: T | None = None) -> None:
        self._what = what
        self._value = value

    def get(self) -> T:
        """The connection. Raises `Unavailable` until it is there."""
        if self._value is None:
            raise Unavailable(f"There is no connection to {self._what} yet.", remedy="Look at `colony status`.")
        return self._value

    async def keep(self, connect: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """Connect, again after each failure, and hold the connection until cancelled."""
        while True:
            try:
                async with connect() as self._value:
                    await asyncio.Event().wait()
            except ColonyError as error:
                _log.info("waiting", what=self._what, error=str(error))
            finally:
                self._value = None
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 -- jitter, not a secret
