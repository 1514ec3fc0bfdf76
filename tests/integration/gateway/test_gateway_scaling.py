"""Replicas of the gateway by load on real Ray Serve, its limits over all of them, and `serve deploy` by hand."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from colony.config.endpoints import Endpoints, read_secret
from control.stack.environment import client_environment
from ray_app.gateway.application import NAME
from tests.eventually import assert_eventually
from tests.running_stack import ROOT, RunningStack, running_stack
from tests.servers.slow_model import SlowModel, slow_model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

CHAT = "/v1/chat/completions"
BURST = 4
QUOTA = 3
LOAD = 8
ADMITTED = 1
"""What a hosted provider of one slot gets at once."""

REPLICA_PORTS = 32


@pytest.fixture(scope="module")
def model() -> Generator[SlowModel]:
    with slow_model() as server:
        yield server


@pytest.fixture(scope="module")
def stack(model: SlowModel) -> Generator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
    folder.chmod(0o755)
    config = {
        "fleet": {"hosts": 1},
        "gateway": {
            "replicas": {"least": 1, "most": 2, "in_flight": 2, "busy_seconds": 0, "calm_seconds": 2},
            "limits": {"requests_per_second": 0.001, "burst": BURST},
            "backends": {
                "echo": {"kind": "scripted", "models": ["echo"]},
                "paced": {"kind": "scripted", "models": ["paced"], "requests_per_minute": QUOTA, "preload": False},
                "slow": {"kind": "openai", "urls": [model.url], "slots": 1, "timeout": 600},
            },
        },
    }
    file = folder / "agent_config.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    try:
        with running_stack(folder / "h", folder, file) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def client(stack: RunningStack) -> AsyncGenerator[httpx.AsyncClient]:
    async with gateway_at(stack, stack.endpoints["gateway"]["url"]) as http:
        yield http


def gateway_at(stack: RunningStack, url: str) -> httpx.AsyncClient:
    key = read_secret(stack.endpoints["gateway"]["key_file"])
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60)


async def application(stack: RunningStack) -> dict[str, Any]:
    ray = stack.endpoints["ray"]
    headers = {"Authorization": f"Bearer {read_secret(ray['token_file'])}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=30) as http:
        found = await http.get(f"{ray['dashboard']}/api/serve/applications/")
    return found.json()["applications"][NAME]


async def replicas(stack: RunningStack) -> int:
    """Replicas of the gateway that run; those that start or stop do not count."""
    found = (await application(stack))["deployments"]["gateway"]["replicas"]
    return sum(replica["state"] == "RUNNING" for replica in found)


async def fronts(stack: RunningStack) -> list[str]:
    """The address of each replica that takes requests, past HAProxy."""
    first = json.loads((stack.home / "ports.json").read_text(encoding="utf-8"))["gateway-replicas"]
    found: list[str] = []
    for port in range(first, first + REPLICA_PORTS):
        url = f"http://127.0.0.1:{port}"
        try:
            async with gateway_at(stack, url) as http:
                if (await http.get("/-/healthz")).status_code == 200:
                    found.append(url)
        except httpx.TransportError:
            continue
    return found


async def ask(http: httpx.AsyncClient, agent: str, text: str, name: str = "echo", deadline: float = 30) -> int:
    body = {"model": name, "messages": [{"role": "user", "content": text}]}
    headers = {"X-Colony-Agent": agent, "X-Colony-Deadline": str(deadline)}
    return (await http.post(CHAT, json=body, headers=headers)).status_code


@asynccontextmanager
async def load(http: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Streams that never end: one is answered, the others wait."""

    async def one(agent: str) -> None:
        body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": agent}]}
        headers = {"X-Colony-Agent": agent, "X-Colony-Deadline": "600"}
        async with http.stream("POST", CHAT, json=body, headers=headers, timeout=600) as stream:
            async for _ in stream.aiter_lines():
                pass

    tasks = [asyncio.create_task(one(f"load-{number}")) for number in range(LOAD)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_load_brings_a_second_replica_limits_hold_over_both_and_it_goes_again(
    client: httpx.AsyncClient, stack: RunningStack
) -> None:
    async def are(wanted: int) -> bool:
        return await replicas(stack) == wanted

    async def reachable() -> list[str]:
        found = await fronts(stack)
        return found if len(found) == 2 else []

    async def all_known(http: httpx.AsyncClient) -> bool:
        state = (await http.get("/colony/state")).json()
        return (state["in_flight"], state["waiting"]) == (ADMITTED, LOAD - ADMITTED)

    assert await replicas(stack) == 1
    async with load(client):
        await assert_eventually(lambda: are(2), timeout=90, every=0.5)
        first, second = await assert_eventually(reachable, timeout=30, every=0.5)
        async with gateway_at(stack, first) as one, gateway_at(stack, second) as other:
            both = (one, other)
            for http in both:
                await assert_eventually(partial(all_known, http))
            rated = [await ask(both[n % 2], "eager", f"{n}") for n in range(2 * BURST)]
            assert rated == [200] * BURST + [429] * BURST
            paced = [await ask(both[n % 2], f"paced-{n}", f"{n}", "paced") for n in range(QUOTA)]
            assert paced == [200] * QUOTA
            late = [await ask(both[n % 2], f"late-{n}", f"late {n}", "paced", 1) for n in range(2)]
            assert set(late) <= {429, 504}
    answered: list[int] = []

    async def calm() -> bool:
        """Requests go on while a replica goes."""
        answered.extend([await ask(client, f"calm-{len(answered)}", "hello") for _ in range(3)])
        return await are(1)

    await assert_eventually(calm, timeout=90, every=0.2)
    assert set(answered) == {200}


async def test_serve_deploy_by_hand(client: httpx.AsyncClient, stack: RunningStack) -> None:
    endpoints = Endpoints.model_validate(stack.endpoints)
    environment = {**os.environ, **client_environment(endpoints)}
    serve = str(Path(sys.executable).with_name("serve"))
    command = [serve, "deploy", "deploy/serve.yaml", "--address", environment["RAY_API_SERVER_ADDRESS"]]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    async def runs() -> bool:
        found = await application(stack)
        return found["status"] == "RUNNING" and not found["deployed_app_config"].get("args")

    async def answers() -> bool:
        try:
            return await ask(client, "by-hand", "hello") in (200, 429)
        except httpx.TransportError:
            return False

    await assert_eventually(runs, timeout=90, every=0.5)
    await assert_eventually(answers, timeout=30, every=0.5)
