"""Temporal's test server, which skips the time that workflows only wait, started for one test."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

_BINARY: Final = Path(sys.executable).parent / "temporal-test-server"

_START: Final = timedelta(seconds=60)
"""The SDK gives it 5 s, which a busy machine with a cold disk does not keep."""


@asynccontextmanager
async def time_skipping_server() -> AsyncGenerator[WorkflowEnvironment]:
    """A server that answers, with a client that speaks our models."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(_BINARY),
        test_server_startup_timeout=_START,
        data_converter=pydantic_data_converter,
    ) as environment:
        yield environment
