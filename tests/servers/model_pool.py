"""The model pool as a process of a test."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.eventually import assert_eventually
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
KEY = "pool-key"


@dataclass
class Pool:
    url: str
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    """Of its control API, with the key."""

    async def load(self, name: str, seconds: float = 30.0, holder: str = "test") -> dict[str, Any]:
        answer = await self.client.post(f"/pool/{name}/load", json={"holder": holder, "seconds": seconds})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def touch(self, name: str, seconds: float, holder: str = "test") -> httpx.Response:
        return await self.client.post(f"/pool/{name}/touch", json={"holder": holder, "seconds": seconds})

    async def states(self) -> dict[str, dict[str, Any]]:
        answer = await self.client.get("/pool")
        assert answer.status_code == 200, answer.text
        return {model["name"]: model for model in answer.json()["models"]}

    def children(self) -> list[int]:
        return children_of(self.process.pid)


def children_of(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


@asynccontextmanager
async def model_pool(folder: Path, models: dict[str, dict[str, Any]], **pool: Any) -> AsyncGenerator[Pool]:
    """`models` and the other fields of `gateway.pool`; ended by SIGTERM, exit code and children checked."""
    port = free_port()
    (folder / "model-key").write_text(KEY)
    environment = {
        **os.environ,
        "COLONY_HOME": str(folder / "home"),
        "COLONY_MODEL_PORT": str(port),
        "COLONY_MODEL_KEY_FILE": str(folder / "model-key"),
        "COLONY_GATEWAY__POOL__MODELS": json.dumps(models),
        "COLONY_GATEWAY__POOL__RESERVE_MB": "0",
        **{f"COLONY_GATEWAY__POOL__{name.upper()}": json.dumps(value) for name, value in pool.items()},
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control.processes.model"), env=environment, cwd=ROOT
    )
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as client:

            async def ready() -> bool:
                assert process.returncode is None, "the pool ended"
                try:
                    return (await client.get("/health")).status_code == 200
                except httpx.HTTPError:
                    return False

            await assert_eventually(ready, 60)
            running = Pool(url, process, client)
            yield running
        if process.returncode is None:
            children = running.children()
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0
            assert not [child for child in children if alive(child)]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
