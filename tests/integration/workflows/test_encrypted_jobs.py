"""Encryption of what a real Temporal server keeps: nothing readable in it, all of it through the codec endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client

from agents.probe import Probe
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import Config
from colony.contracts import JobState
from colony.errors import BadInput, NotFound, Unreadable
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from control.api.app import build_app
from control.api.edge import EdgeSettings
from tests.eventually import assert_eventually
from tests.servers.temporal import temporal_cli, temporal_server
from tests.unit.control.api.api_of_twins import twins
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.attributes import JOB_KIND, registered_attributes
from workflows.client import await_job, connect, job_progress, start_job
from workflows.encryption import key_line
from workflows.engine import MARK
from workflows.local_runner import local_runner
from workflows.schedules import TemporalSchedules, Timing
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

SECRET = "swordfish"
KEY = "k" * 32


@dataclass
class Sealed:
    endpoint: TemporalEndpoint
    client: Client
    ledger: MemoryLedger
    folder: Path

    @property
    def plain(self) -> TemporalEndpoint:
        return self.endpoint.model_copy(update={"codec_key_file": ""})

    async def raw_history(self, workflow_id: str) -> bytes:
        """All events as the server keeps them."""
        request = GetWorkflowExecutionHistoryRequest(
            namespace="default", execution=WorkflowExecution(workflow_id=workflow_id)
        )
        found, token = b"", b""
        while True:
            request.next_page_token = token
            page = await self.client.workflow_service.get_workflow_execution_history(request)
            found += page.history.SerializeToString()
            token = page.next_page_token
            if not token:
                return found

    def key_file(self, name: str, text: str) -> TemporalEndpoint:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return self.endpoint.model_copy(update={"codec_key_file": str(path)})


def contents(history: str) -> bytes:
    """What the payloads hold in a history as the command prints it."""
    return b"".join(base64.b64decode(found) for found in re.findall(r'"data": "([^"]*)"', history))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sealed(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    keys = folder / "keys"
    keys.write_text(key_line("one"))
    keys.chmod(0o600)
    ledger, shutdown = MemoryLedger(SystemClock()), asyncio.Event()
    async with (
        temporal_server() as server,
        connect(server.model_copy(update={"codec_key_file": str(keys)})) as client,
        local_runner(ledger, {AgentType("probe"): Probe}, roots=[folder]) as runner,
    ):
        attributes = await registered_attributes(client)
        io = IoActivities(ledger, Config(), [folder], attributes=attributes, deployment="colony-test")
        workers = [workflow_worker(client), io_worker(client, io), dispatch_worker(client, DispatchActivities(runner))]
        running = asyncio.create_task(run_workers(workers, shutdown))
        try:
            yield Sealed(server.model_copy(update={"codec_key_file": str(keys)}), client, ledger, folder)
        finally:
            shutdown.set()
            await running


async def test_a_history_holds_nothing_readable(sealed: Sealed) -> None:
    given = {"tasks": 300}
    started = await start_job(sealed.client, "durable_tasks", given, "sealed", memo={MARK: f"memo {SECRET}"})
    result = await await_job(sealed.client, started.workflow_id, timeout=60)
    assert result.steps[1].ok == 300
    assert (await job_progress(sealed.client, started.workflow_id)).phase == "closed"
    history = await sealed.raw_history("sealed")
    assert b"durable_tasks" in history, "names stay readable"
    for word in (b'"tasks"', b'"steps"', b'"artifacts"', b'"job"'):
        assert word not in history, word
    described = await sealed.client.get_workflow_handle("sealed").describe()
    assert described.typed_search_attributes[JOB_KIND] == "durable_tasks", "search attributes are never encrypted"
    assert await described.memo_value(MARK) == f"memo {SECRET}"
    assert b"memo swordfish" not in described.raw_description.SerializeToString()


async def test_messages_of_failures_are_encrypted_too(sealed: Sealed) -> None:
    started = await start_job(sealed.client, f"no_{SECRET}_template", {"a": SECRET}, "refused")
    with pytest.raises((BadInput, NotFound), match=SECRET):
        await await_job(sealed.client, started.workflow_id, timeout=60)
    history = await sealed.raw_history("refused")
    name = f"no_{SECRET}_template".encode()
    assert SECRET.encode() not in history.replace(name, b""), "only as the name of the template"


async def test_the_plain_command_starts_jobs_and_the_codec_endpoint_shows_them(sealed: Sealed) -> None:
    codec = sealed.client.data_converter.payload_codec
    assert codec is not None
    app = build_app(replace(twins()[0], codec=codec), EdgeSettings(key=KEY))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/codec"
    try:
        await assert_eventually(lambda: server.started, 30)
        given = json.dumps({"tasks": 20})
        code, said = await temporal_cli(
            sealed.endpoint, "workflow", "start", "--type", "durable_tasks", "--task-queue", "colony",
            "--workflow-id", "plain", "--input", given,
        )  # fmt: skip
        assert code == 0, said
        assert (await await_job(sealed.client, "plain", timeout=60)).state is JobState.DONE
        show = ("workflow", "show", "--workflow-id", "plain", "--output", "json")
        blind = await temporal_cli(sealed.endpoint, *show)
        assert "encryption-key-id" in blind[1]
        assert b'"state"' not in contents(blind[1])
        code, seen = await temporal_cli(
            sealed.endpoint, *show, "--codec-endpoint", url, "--codec-auth", f"Bearer {KEY}"
        )
        assert code == 0, seen
        assert "encryption-key-id" not in seen
        assert b'"state":"done"' in contents(seen)
        assert b'"tasks":20' in contents(seen).replace(b" ", b"")
        refused = await temporal_cli(sealed.endpoint, *show, "--codec-endpoint", url, "--codec-auth", "Bearer wrong")
        assert '"eventId"' not in refused[1] or b'"state"' not in contents(refused[1])
        code, said = await temporal_cli(
            sealed.endpoint, "workflow", "execute", "--type", "durable_tasks", "--task-queue", "colony",
            "--workflow-id", "coded", "--input", given, "--codec-endpoint", url, "--codec-auth", f"Bearer {KEY}",
        )  # fmt: skip
        assert code == 0, said
        assert b'"tasks"' not in await sealed.raw_history("coded"), "the command encrypts what it hands in"
    finally:
        server.should_exit = True
        await serving


async def test_schedules_hand_over_encrypted_input(sealed: Sealed) -> None:
    schedules = TemporalSchedules(sealed.client)
    await schedules.create("nightly", Timing(template="durable_tasks", every=3600), {"tasks": 11, "tenant": SECRET})
    await schedules.trigger("nightly")

    async def done() -> bool:
        return any(
            view.state is JobState.DONE for view in await sealed.ledger.jobs(10) if "nightly" in view.workflow_id
        )

    await assert_eventually(done, 30)
    assert (await schedules.show("nightly")).timing == Timing(template="durable_tasks", every=3600)
    await schedules.delete("nightly")


async def test_a_wrong_key_is_told_and_a_rotated_one_reads_both(sealed: Sealed) -> None:
    started = await start_job(sealed.client, "durable_tasks", {"tasks": 5}, "kept")
    await await_job(sealed.client, started.workflow_id, timeout=60)
    async with connect(sealed.key_file("other", key_line("two"))) as stranger:
        with pytest.raises(Unreadable, match="'one', which is not at hand"):
            await await_job(stranger, "kept", timeout=60)
    both = key_line("two") + (sealed.folder / "keys").read_text()
    async with connect(sealed.key_file("rotated", both)) as rotated:
        assert (await await_job(rotated, "kept", timeout=60)).state is JobState.DONE
