"""A real Temporal server, and a colony in one process around it: memory ledger, local runner, three workers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import pytest_asyncio
from temporalio.client import Client, Interceptor
from temporalio.service import RPCError, RPCStatusCode

from agents.base import Agent
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.dispatch import BatchRunner
from colony.ids import AgentType, Id
from colony.ledger.memory import MemoryLedger
from tests.servers.temporal import temporal_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.attributes import registered_attributes
from workflows.client import connect
from workflows.local_runner import local_runner
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker


@dataclass
class Colony:
    endpoint: TemporalEndpoint
    client: Client
    ledger: MemoryLedger
    folder: Path


class Recordable(Protocol):
    """Where jobs run whose histories can be kept."""

    @property
    def client(self) -> Client: ...

    @property
    def folder(self) -> Path: ...


async def keep_history(here: Recordable, workflow_id: str, name: str) -> None:
    """Write the history of a job into the folder COLONY_RECORD_HISTORIES names: how golden histories are renewed."""
    folder = os.environ.get("COLONY_RECORD_HISTORIES")
    if not folder:
        return
    history = await here.client.get_workflow_handle(workflow_id).fetch_history()
    scrubbed = _scrubbed(json.loads(history.to_json()), str(here.folder))
    Path(folder, f"{name}.json").write_text(json.dumps(scrubbed, indent=1) + "\n")  # noqa: ASYNC240 -- only when recording


def _scrubbed(value: Any, folder: str) -> Any:
    """`value` without names of this machine: identities, sticky queues, the data folder within payloads."""
    if isinstance(value, list):
        return [_scrubbed(each, folder) for each in cast("list[Any]", value)]
    if isinstance(value, str):
        return value.replace(f"@{socket.gethostname()}", "@host").replace(f"{Path.cwd()}/", "")
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    scrubbed = {key: "worker" if key == "identity" else _scrubbed(each, folder) for key, each in fields.items()}
    if isinstance(scrubbed.get("data"), str):
        raw = base64.b64decode(scrubbed["data"]).replace(folder.encode(), b"/data")
        scrubbed["data"] = base64.b64encode(raw).decode()
    return scrubbed


def intercepted(client: Client, interceptors: Sequence[Interceptor]) -> Client:
    """The same client with interceptors; it hands them on to its workers."""
    if not interceptors:
        return client
    return Client(
        client.service_client,
        namespace=client.namespace,
        data_converter=client.data_converter,
        interceptors=interceptors,
    )


async def end_running(client: Client) -> None:
    """End what a test left running, as far as the server lists it.

    The next one may run on the same server, and numbers its jobs from 1 again.
    """
    async for each in client.list_workflows("ExecutionStatus = 'Running'"):
        try:
            await client.get_workflow_handle(each.id).terminate()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # the list is a moment behind
                raise


class Wrap(Protocol):
    def __call__(self, runner: BatchRunner, /) -> BatchRunner: ...


class Opens(Protocol):
    def __call__(
        self,
        agents: Mapping[AgentType, type[Agent]],
        templates: Mapping[Id, TemplateConfig] = ...,
        *,
        wrap: Wrap | None = None,
        silence: float = 6.0,
        dispatch: bool = True,
        coded: Sequence[type] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> AbstractAsyncContextManager[Colony]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal() -> AsyncGenerator[TemporalEndpoint]:
    async with temporal_server() as endpoint:
        yield endpoint


@pytest.fixture
def colony(temporal: TemporalEndpoint, tmp_path: Path) -> Opens:
    @asynccontextmanager
    async def opened(
        agents: Mapping[AgentType, type[Agent]],
        templates: Mapping[Id, TemplateConfig] | None = None,
        *,
        wrap: Wrap | None = None,
        silence: float = 6.0,
        dispatch: bool = True,
        coded: Sequence[type] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> AsyncGenerator[Colony]:
        ledger = MemoryLedger(SystemClock())
        config = Config(workflows=dict(templates or {}))
        shutdown = asyncio.Event()
        async with connect(temporal) as plain, local_runner(ledger, agents, roots=[tmp_path]) as local:
            client = intercepted(plain, interceptors)
            runner: Any = local if wrap is None else wrap(local)
            attributes = await registered_attributes(client)
            io = IoActivities(ledger, config, [tmp_path], attributes=attributes, deployment="colony-test")
            workers = [workflow_worker(client, coded=coded), io_worker(client, io)]
            if dispatch:
                workers.append(dispatch_worker(client, DispatchActivities(runner, silence_seconds=silence)))
            running = asyncio.create_task(run_workers(workers, shutdown))
            try:
                yield Colony(temporal, client, ledger, tmp_path)
            finally:
                shutdown.set()
                try:
                    await running
                finally:
                    await end_running(plain)

    return opened  # pyright: ignore[reportReturnType] -- the defaults differ in spelling only
