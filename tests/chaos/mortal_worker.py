"""All workers and a host in one process that kills itself after the first run of each kind of activity.

Run as `python -m tests.chaos.mortal_worker SETUP`, again and again until a job is done: each time the effects of an
activity are written and nobody was told. That is the worst moment, for whoever goes on meets work that is done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio import activity, client, worker
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from agents.base import Agent
from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.clock import SystemClock
from colony.config.endpoints import PostgresEndpoint, TemporalEndpoint
from colony.config.model import AgentTypeConfig, Config, FetchConfig, FleetConfig
from colony.fetch import GuardedFetcher, open_fetcher
from colony.ids import SHARDS, AgentType
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.registry.memory import MemoryRegistry
from ray_app.fleet import HostBatchRunner
from ray_app.host import Host, open_host
from ray_app.local_hosts import LocalHosts
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.client import connect
from workflows.names import DISPATCH_BATCH
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

AGENTS = 20
"""Agents of each type."""

_CLASSES: dict[str, type[Agent]] = {name: load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}


class Setup(BaseModel):
    """What the process is given, as a file."""

    temporal: TemporalEndpoint
    postgres: PostgresEndpoint
    folder: Path
    private: tuple[str, ...] = ()
    """Addresses that may be fetched though they are private."""

    @property
    def deaths(self) -> Path:
        """Where it died, a line each."""
        return self.folder / "deaths"


class DieOnce(client.Interceptor, worker.Interceptor):
    """Kills the process after an activity, once for each place."""

    def __init__(self, deaths: Path) -> None:
        self._deaths = deaths

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        return _Dying(next, self._deaths)


class _Dying(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, deaths: Path) -> None:
        super().__init__(inner)
        self._deaths = deaths

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 -- the SDK's name
        result = await super().execute_activity(input)
        name = activity.info().activity_type
        place = f"{name} {input.args[0].step}" if name == DISPATCH_BATCH else name
        if place not in self._deaths.read_text().splitlines():
            with self._deaths.open("a") as file:
                file.write(f"{place}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def config_of(setup: Setup) -> Config:
    """A fleet of the built-in types."""
    types = {AgentType(name): AgentTypeConfig(count=AGENTS) for name in BUILTIN}
    return Config(
        fleet=FleetConfig(hosts=1, lease_seconds=60, types=types), fetch=FetchConfig(allow_private=setup.private)
    )


@asynccontextmanager
async def _hosts(
    ledger: Ledger, config: Config, fetcher: GuardedFetcher, roots: list[str]
) -> AsyncGenerator[LocalHosts]:
    """One host that owns everything, in place of the one that died with the process before."""
    for lease in await ledger.leases():
        await ledger.end_lease(lease.incarnation, crashed=True)
    clock, bus = SystemClock(), MemoryBus()

    def load(agent_type: AgentType, _: AgentTypeConfig) -> type[Agent]:
        return _CLASSES[agent_type]

    def open_one(slot: int, incarnation: str) -> AbstractAsyncContextManager[Host]:
        messenger, registry = MemoryMessenger(bus, role="host", clock=clock), MemoryRegistry(clock)
        return open_host(
            slot, incarnation, ledger, messenger, registry, config, load,
            fetcher=fetcher, data_roots=roots, clock=clock,
        )  # fmt: skip

    hosts = LocalHosts(open_one)
    try:
        await hosts.start_host(0)
        await (await hosts.hosts())[0].assign(range(SHARDS))
        yield hosts
    finally:
        await hosts.aclose()


async def serve(setup: Setup) -> None:
    """Work until killed."""
    config = config_of(setup)
    roots = [setup.folder]
    async with (
        connect(setup.temporal) as plain,
        open_ledger(setup.postgres, pool_size=8, name=f"mortal-{uuid.uuid4().hex[:6]}") as ledger,
        open_fetcher(config.fetch) as fetcher,
        _hosts(ledger, config, fetcher, [str(setup.folder)]) as hosts,
    ):
        mortal = client.Client(
            plain.service_client,
            namespace=plain.namespace,
            data_converter=plain.data_converter,
            interceptors=[DieOnce(setup.deaths)],  # a client hands them on to its workers
        )
        bus = MemoryMessenger(MemoryBus(), role="worker", clock=SystemClock())
        monitor = MonitorActivities(ledger, roots, messenger=bus, poster=fetcher)
        workers = [
            workflow_worker(mortal),
            io_worker(mortal, IoActivities(ledger, config, roots), monitor=monitor),
            dispatch_worker(mortal, DispatchActivities(HostBatchRunner(hosts))),
        ]
        await run_workers(workers, asyncio.Event())


if __name__ == "__main__":
    asyncio.run(serve(Setup.model_validate_json(Path(sys.argv[1]).read_text())))
