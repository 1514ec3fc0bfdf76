"""What a handle of Serve raises, as an error of ours."""

from __future__ import annotations

import pytest
from ray.serve.exceptions import RayServeException

from colony.errors import Unavailable
from ray_app.gateway.serve_app import HandleAsk


class Away:
    """A handle whose deployment is away."""

    @property
    def call(self) -> Away:
        return self

    async def remote(self, method: str, payload: bytes) -> bytes:
        raise RayServeException(f"no replica for {method}")


async def test_a_deployment_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await HandleAsk(Away())("state", b"")
