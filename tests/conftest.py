"""Settings of all tests."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("explore", deadline=None)
settings.register_profile("repeat", deadline=None, derandomize=True)
settings.load_profile("repeat" if os.environ.get("CI") else "explore")


@pytest.fixture(autouse=True)
def _own_logging() -> Generator[None]:
    """Nothing that a command sets for its process outlives the test that ran the command in this one."""
    yield
    structlog.reset_defaults()
