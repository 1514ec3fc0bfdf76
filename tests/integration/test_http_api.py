"""The HTTP API of a full stack: a job from end to end, agents, and jobs asked for while Temporal is dead."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from colony.config.endpoints import read_endpoints, read_secret
from control.stack.paths import StackPaths
from control.stack.state import read_state
from tests.eventually import assert_eventually
from tests.integration.test_commands import write_reviews
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
async def client(full_stack: RunningStack) -> AsyncGenerator[httpx.AsyncClient]:
    endpoint = read_endpoints(full_stack.home).api
    assert endpoint is not None
    headers = {"X-API-Key": read_secret(endpoint.key_file)}
    async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=30) as found:
        yield found


async def submit(client: httpx.AsyncClient, name: str, source: str, key: str = "") -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"template": "review_analysis", "id": name, "input": {"source": source}}
    answer = await client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def state(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.get(f"/v1/jobs/{name}")
    return answer.json()["state"] if answer.status_code == 200 else str(answer.status_code)


async def test_a_job_from_its_submission_to_its_report(client: httpx.AsyncClient, full_stack: RunningStack) -> None:
    name = f"http-{uuid.uuid4().hex[:8]}"
    await submit(client, name, str(write_reviews(full_stack.folder)))
    kinds: list[str] = []
    last: dict[str, Any] = {}
    async with client.stream("GET", f"/v1/jobs/{name}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                kinds.append(line[7:])
            if line.startswith("data: "):
                last = json.loads(line[6:])
    assert kinds[-1] == "end"
    assert set(kinds[:-1]) == {"progress"}
    assert last["state"] == "done", last
    rows = (await client.get(f"/v1/jobs/{name}/results")).json()["rows"]
    assert len(rows) == 60
    assert "battery" in (await client.get(f"/v1/jobs/{name}/results?format=md")).text.lower()
    names = [one["name"] for one in (await client.get(f"/v1/jobs/{name}/artifacts")).json()["items"]]
    assert "report.md" in names
    assert (await client.post(f"/v1/jobs/{name}/cancel")).status_code == 409


async def test_agents_and_the_fleet(client: httpx.AsyncClient) -> None:
    fleet = (await client.get("/v1/fleet")).json()
    assert fleet["desired"] == fleet["passing"] == 620
    agent = (await client.get("/v1/agents/research-00001")).json()
    assert agent["passing"] is True
    assert agent["host"].startswith("colony-host-")
    page = (await client.get("/v1/agents?type=research&limit=7")).json()
    assert (len(page["items"]), page["total"]) == (7, 100)


async def test_jobs_asked_for_while_temporal_is_dead_are_done_once_it_is_back(
    client: httpx.AsyncClient, full_stack: RunningStack
) -> None:
    source = str(write_reviews(full_stack.folder, 10))
    names = [f"down-{uuid.uuid4().hex[:8]}" for _ in range(4)]
    record = read_state(StackPaths(full_stack.home).state_file)
    assert record is not None
    temporal = record.service("temporal")
    assert temporal is not None
    (process,) = temporal.processes.values()
    # Stopped, not killed: it is away for as long as we need, and then dies.
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for name in names:
            await submit(client, name, source, key=name)
            await submit(client, name, source, key=name)
        assert {await state(client, name) for name in names} == {"accepted"}
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["ledger"]["ok"] is True
    finally:
        with suppress(ProcessLookupError):  # the supervisor may have found it frozen before
            os.kill(process.pid, signal.SIGKILL)

    async def all_done() -> bool:
        return {await state(client, name) for name in names} == {"done"}

    await assert_eventually(all_done, timeout=90, every=0.5)
    listed = json.loads(full_stack.colony("jobs", "--limit", "200", "--json").stdout)
    assert sorted(one["workflow_id"] for one in listed if one["workflow_id"] in names) == sorted(names)

    async def ready_again() -> bool:
        return (await client.get("/readyz")).json()["ready"] is True

    await assert_eventually(ready_again, timeout=60)


async def test_an_api_that_is_killed_comes_back_and_starts_what_it_had_taken(
    client: httpx.AsyncClient, full_stack: RunningStack
) -> None:
    source = str(write_reviews(full_stack.folder, 10))
    name = f"killed-{uuid.uuid4().hex[:8]}"
    await submit(client, name, source)
    record = read_state(StackPaths(full_stack.home).state_file)
    assert record is not None
    api = record.service("api")
    assert api is not None
    (process,) = api.processes.values()
    os.kill(process.pid, signal.SIGKILL)

    async def done() -> bool:
        try:
            return await state(client, name) == "done"
        except httpx.TransportError:
            return False

    await assert_eventually(done, timeout=60, every=0.5)
