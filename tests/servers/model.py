"""The embedded model server as a process of a test."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from colony.config.endpoints import ModelEndpoint
from tests.eventually import assert_eventually
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def embedded_model(
    folder: Path, *, slots: int, context: int, key_file: Path | None = None
) -> AsyncGenerator[ModelEndpoint]:
    """SmolLM2 on a free loopback port; ended by SIGTERM, and the exit code checked."""
    port = free_port()
    environment = {
        **os.environ,
        "COLONY_HOME": str(folder / "home"),
        "COLONY_MODEL_PORT": str(port),
        "COLONY_MODEL_KEY_FILE": str(key_file or ""),
        "COLONY_MODEL__SLOTS": str(slots),
        "COLONY_MODEL__CONTEXT": str(context),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "control.processes.model", env=environment, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def ready() -> bool:
                assert process.returncode is None, "the model process ended"
                try:
                    return (await client.get(f"{url}/health")).status_code == 200
                except httpx.HTTPError:
                    return False

            await assert_eventually(ready, 60)
        yield ModelEndpoint(url=url, key_file=str(key_file or ""))
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
