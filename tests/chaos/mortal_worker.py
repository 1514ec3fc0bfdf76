"""All workers and a host in one process that kills itself at the worst moments of each activity, once at each.

Run as `python -m tests.chaos.mortal_worker SETUP`: it forks a life, and the next one whenever that was killed. A life
ends after an activity, when its effects are written and nobody was told, and half way, when a part of them is (see
`tests.chaos.mortal_ledger`). Whoever goes on meets work that is done, or half done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, cast

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
from tests.chaos.mortal_ledger import Deaths, MortalLedger
from workflows import activities_io, beating, policies
from workflows import worker as workers
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.client import connect
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

AGENTS = 20
"""Agents of each type."""

_SILENCE = 2.0
"""Seconds until an activity without a heartbeat is tried again elsewhere."""

_CLASSES: dict[str, type[Agent]] = {name: load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}


class Setup(BaseModel):
    """What the process is given, as a file."""

    temporal: TemporalEndpoint
    postgres: PostgresEndpoint
    folder: Path
    private: tuple[str, ...] = ()
    """Addresses that may be fetched though they are private."""

    @property
    def deaths(self) -> Deaths:
        """Where it died. Nobody dies before there is that file."""
        return Deaths(self.folder / "deaths")


class DieOnce(client.Interceptor, worker.Interceptor):
    """Kills the process after an activity, once for each activity of each step."""

    def __init__(self, deaths: Deaths) -> None:
        self._deaths = deaths

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        return _Dying(next, self._deaths)


class _Dying(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, deaths: Deaths) -> None:
        super().__init__(inner)
        self._deaths = deaths

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 -- the SDK's name
        result = await super().execute_activity(input)
        step = getattr(input.args[0], "step", None)
        name = activity.info().activity_type
        self._deaths.die_once(name if step is None else f"{name} {step}")
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


def hurry() -> None:
    """Deaths are noticed sooner than in production, so that a test has time for a hundred of them.

    How soon a real one is noticed is for `tests/chaos/test_kill.py`.
    """
    beat = _SILENCE / 8
    constants: list[tuple[ModuleType, str, Any]] = [
        (policies, "SILENCE_SECONDS", _SILENCE),
        (workers, "HEARTBEAT_THROTTLE", timedelta(seconds=beat)),
        (activities_io, "_BEAT_SECONDS", beat),
        (beating, "_BEAT_SECONDS", beat),
    ]
    for module, name, value in constants:
        assert hasattr(module, name), name
        setattr(module, name, value)


async def serve(setup: Setup) -> None:
    """Work until killed."""
    config = config_of(setup)
    roots = [setup.folder]
    async with (
        AsyncExitStack() as stack,
        connect(setup.temporal) as plain,
        open_ledger(setup.postgres, pool_size=8, name=f"mortal-{uuid.uuid4().hex[:6]}") as immortal,
        open_fetcher(config.fetch) as fetcher,
    ):
        ledger = cast("Ledger", MortalLedger(immortal, setup.deaths))
        hosts = await stack.enter_async_context(_hosts(ledger, config, fetcher, [str(setup.folder)]))
        mortal = client.Client(
            plain.service_client,
            namespace=plain.namespace,
            data_converter=plain.data_converter,
            interceptors=[DieOnce(setup.deaths)],  # a client hands them on to its workers
        )
        bus = MemoryMessenger(MemoryBus(), role="worker", clock=SystemClock())
        monitor = MonitorActivities(ledger, roots, messenger=bus, poster=fetcher)
        running = [
            workflow_worker(mortal, max_cached=0),  # nobody waits for the cache of the dead
            io_worker(mortal, IoActivities(ledger, config, roots), monitor=monitor),
            dispatch_worker(mortal, DispatchActivities(HostBatchRunner(hosts))),
        ]
        await run_workers(running, asyncio.Event())


def live_on(setup: Setup) -> None:
    """One life after the other; ends with the first that was not killed. Forks, since starting Python takes longer."""
    hurry()
    while True:
        child = os.fork()
        if child == 0:
            asyncio.run(serve(setup))
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(f"ended by itself with {code}")


if __name__ == "__main__":
    live_on(Setup.model_validate_json(Path(sys.argv[1]).read_text()))
