"""The API over twins."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.unit.control.api.api_of_twins import ApiOfTwins, opened


@pytest.fixture
async def api() -> AsyncGenerator[ApiOfTwins]:
    async with opened() as found:
        yield found
