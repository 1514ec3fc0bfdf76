"""Wait for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def assert_eventually(
    check: Callable[[], Awaitable[Any] | Any], timeout: float = 10.0, every: float = 0.02
) -> Any:
    """Return the first true value of `check`; fail with the last value or error once `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    last: Any = None
    while True:
        try:
            last = check()
            if isinstance(last, Awaitable):
                last = await last
            if last:
                return last
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s; last: {last!r}")
        await asyncio.sleep(every)
