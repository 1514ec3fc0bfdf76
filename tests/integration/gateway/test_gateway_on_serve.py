"""The gateway as a stack runs it: Ray Serve behind HAProxy, asked over HTTP, broken and found again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from colony.config.endpoints import read_secret
from control.stack.gateway_status import serve_entries
from control.stack.identity import Entry, all_entries
from control.stack.paths import StackPaths
from control.stack.ports import BLOCKS
from control.stack.state import read_state
from control.stack.stopping import members
from tests.eventually import assert_eventually
from tests.running_stack import RunningStack, running_stack
from tests.servers.slow_model import SlowModel, slow_model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]  # each test may be the one that starts the stack

CHAT = "/v1/chat/completions"
BURST = 5
REFILL = 0.5


@pytest.fixture(scope="module", name="slow_model")
def serving_slowly() -> Generator[SlowModel]:
    with slow_model() as server:
        yield server


@pytest.fixture(scope="module", params=[1, 2], ids=["one replica", "two replicas and an owner"])
def stack(request: pytest.FixtureRequest, slow_model: SlowModel) -> Generator[RunningStack]:
    slow_model.begun.clear()
    slow_model.left.clear()
    folder = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    folder.chmod(0o755)
    config = {
        "fleet": {"hosts": 1},
        "gateway": {
            "replicas": {"least": request.param, "most": request.param},
            "limits": {"requests_per_second": REFILL, "burst": BURST},
            "batch": {"wait": 0.2},  # on a busy machine calls of one moment arrive over a longer time
            "backends": {
                "echo": {"kind": "scripted"},
                "slow": {"kind": "openai", "urls": [slow_model.url], "slots": 1},
            },
        },
    }
    file = folder / "agent_config.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    try:
        with running_stack(folder / "h", folder, file) as running:
            yield running
        assert left_of(folder) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_of(folder: Path) -> list[str]:
    """Living processes that were started for this stack."""
    found: list[str] = []
    for entry in all_entries():
        texts: list[bytes] = []
        for name in ("environ", "cmdline"):
            with suppress(OSError):
                texts.append(Path(f"/proc/{entry.identity.pid}/{name}").read_bytes())
        if entry.identity.pid != os.getpid() and any(str(folder).encode() in text for text in texts):
            found.append(entry.name)
    return found


def serve_processes(stack: RunningStack, name: str) -> list[Entry]:
    state = read_state(StackPaths(stack.home).state_file)
    record = None if state is None else state.service("ray")
    assert record is not None
    return [entry for entry in serve_entries(members(record)) if entry.name == name]


def one_replica(stack: RunningStack) -> bool:
    """Whether the gateway is one process, without an owner of its own."""
    return len(serve_processes(stack, "ray::ServeRepli")) == 1


@pytest.fixture
async def client(stack: RunningStack) -> AsyncGenerator[httpx.AsyncClient]:
    found = stack.endpoints["gateway"]
    key = read_secret(found["key_file"])
    async with httpx.AsyncClient(
        base_url=found["url"], headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
    ) as http:
        yield http


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def by(agent: str) -> dict[str, str]:
    return {"X-Colony-Agent": agent}


async def test_it_answers_and_streams_to_whom_it_knows(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=asked("hello big world", model="scripted"), headers=by("a"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "hello big world"
    async with client.stream(
        "POST", CHAT, json=asked("one two", model="scripted", stream=True), headers=by("a")
    ) as stream:
        lines = [line async for line in stream.aiter_lines() if line]
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (stream.headers["x-colony-backend"], stream.headers["x-colony-cache"]) == ("echo", "miss")
    assert stream.headers["x-colony-request-id"]
    assert lines[-1] == "data: [DONE]"
    embedded = await client.post("/v1/embeddings", json={"model": "scripted", "input": ["a", "b"]}, headers=by("a"))
    assert [one["index"] for one in embedded.json()["data"]] == [0, 1]
    stranger = await client.post(CHAT, json=asked("hello"), headers={"Authorization": "Bearer wrong"})
    assert stranger.status_code == 401


async def test_one_agent_gets_its_burst_and_then_is_told_when_to_come_back(client: httpx.AsyncClient) -> None:
    began = time.monotonic()
    answers = [
        await client.post(CHAT, json=asked(f"number {number}", model="scripted"), headers=by("eager"))
        for number in range(4 * BURST)
    ]
    allowed = BURST + 1 + REFILL * (time.monotonic() - began)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:BURST]] == [200] * BURST
    assert refused
    assert len(answers) - len(refused) <= allowed
    assert all(float(answer.headers["retry-after"]) > 0 for answer in refused)
    assert refused[0].json()["error"]["message"]
    other = await client.post(CHAT, json=asked("me too", model="scripted"), headers=by("patient"))
    assert other.status_code == 200


async def test_a_client_that_leaves_frees_its_slot(client: httpx.AsyncClient, slow_model: SlowModel) -> None:
    async def in_flight(wanted: int) -> bool:
        return (await client.get("/colony/state")).json()["in_flight"] == wanted

    async with client.stream("POST", CHAT, json=asked("go", model="slow", stream=True), headers=by("b")) as stream:
        lines = stream.aiter_lines()  # kept: httpx hangs up when it is collected
        await anext(lines)
        # An owner in another process hears of the end of earlier calls a moment later.
        await assert_eventually(lambda: in_flight(1), timeout=30)
    await assert_eventually(lambda: in_flight(0), timeout=1)  # what is promised to clients that hang up
    await assert_eventually(slow_model.left.is_set, timeout=1)


async def test_small_calls_at_once_become_batches(client: httpx.AsyncClient, stack: RunningStack) -> None:
    async def embed(number: int) -> int:
        body = {"model": "scripted", "input": f"text {number}"}
        return (await client.post("/v1/embeddings", json=body, headers=by(f"embeds-{number}"))).status_code

    async def batched() -> bool:
        base = random.randrange(1_000_000)
        assert set(await asyncio.gather(*(embed(base + number) for number in range(24)))) == {200}
        return (await client.get("/colony/state")).json()["batches"]["largest"] >= wanted  # of the replica that answers

    # Each replica joins its own calls only, and asks an owner in another process about every one of them first.
    wanted = 10 if one_replica(stack) else 2
    await assert_eventually(batched, timeout=30)


def test_it_is_reached_from_this_machine_only(stack: RunningStack) -> None:
    ports: dict[str, int] = json.loads((stack.home / "ports.json").read_text(encoding="utf-8"))
    first = ports["gateway-replicas"]
    own = {ports["gateway"], ports["gateway-proxy"], *range(first, first + BLOCKS["gateway-replicas"])}
    found = {found.laddr for found in psutil.net_connections("tcp") if found.status == psutil.CONN_LISTEN}
    listening = {address.ip for address in found if address.port in own}
    assert listening == {"127.0.0.1"}
    assert any(address.port == ports["gateway"] for address in found)


def test_status_says_that_it_answers_and_what_it_takes(stack: RunningStack) -> None:
    row = stack.status()["services"]["gateway"]
    assert row["state"] == "ready"
    assert row["provider"] == "Ray Serve, HAProxy"
    assert row["address"] == stack.endpoints["gateway"]["url"].removeprefix("http://")
    assert 100 < row["pss_mb"] < (400 if one_replica(stack) else 700)
    assert row["processes"] >= 4


async def test_what_is_killed_comes_back(client: httpx.AsyncClient, stack: RunningStack) -> None:
    async def answers() -> bool:
        try:
            answer = await client.post(CHAT, json=asked("hello", model="scripted", temperature=0), headers=by("c"))
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    for name in ("ray::ServeRepli", "ray::ServeContr"):
        before = {entry.identity.pid for entry in serve_processes(stack, name)}
        assert before
        for pid in before:
            os.kill(pid, signal.SIGKILL)

        def others(name: str = name, before: set[int] = before) -> bool:
            now = {entry.identity.pid for entry in serve_processes(stack, name)}
            return len(now) == len(before) and not now & before

        await assert_eventually(others, timeout=60, every=0.2)
        await assert_eventually(answers, timeout=60, every=0.2)
    front = read_state(StackPaths(stack.home).state_file)
    record = None if front is None else front.service("gateway")
    assert record is not None
    os.kill(record.processes["gateway"].pid, signal.SIGKILL)
    await assert_eventually(answers, timeout=60, every=0.2)
