"""Connect this process to Ray and hand out its hosts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import ray
import structlog
from ray.exceptions import RayError

from colony.config.endpoints import Endpoints
from colony.errors import Unavailable
from colony.ids import RAY_NAMESPACE
from colony.lifecycle import task_owner
from ray_app.ray_hosts import RayHosts

_ray: Any = ray  # annotated in part only
_log = structlog.get_logger(__name__)

DISCONNECT_SECONDS: Final = 5.0
REPOSITORY: Final = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def open_ray_hosts(endpoints: Endpoints) -> AsyncGenerator[RayHosts]:
    """The hosts of the cluster at `endpoints.ray`. The token comes from the environment (`RAY_AUTH_TOKEN_PATH`).

    Ray installs signal handlers here: set your own afterwards. Raises `Unavailable`. On the way out the hosts, which
    are detached, live on.
    """

    def connect() -> None:
        _ray.init(
            address=endpoints.ray.address,
            namespace=RAY_NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            include_dashboard=False,
        )

    try:
        # In this thread, though it blocks: Ray sets signal handlers, which only the main thread may.
        connect()
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise Unavailable(f"Ray at {endpoints.ray.address} does not answer: {type(error).__name__}.") from error
    try:
        async with task_owner() as tasks:
            yield RayHosts(Path(endpoints.home), tasks, python_path=os.environ.get("PYTHONPATH") or str(REPOSITORY))
    finally:
        try:
            async with asyncio.timeout(DISCONNECT_SECONDS):
                await asyncio.to_thread(_ray.shutdown)
        except TimeoutError:
            _log.warning("Ray did not let go in time")
