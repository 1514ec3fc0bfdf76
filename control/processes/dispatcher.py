"""The `dispatcher` process: activities that call Ray, and the reconciler. Run as a module.

A Ray driver dies with its head, up to 60 s late; the supervisor restarts head and dispatcher as one group.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from colony.config.endpoints import home_from_environment, read_endpoints
from colony.ledger.postgres import open_ledger
from colony.lifecycle import task_owner
from colony.messaging.nats import open_messenger
from colony.registry.open import open_registry
from control.exit import serve_and_leave
from control.processes.logs import log_to_stdout
from control.processes.opening import enter_when_available, shards_owned
from control.processes.ready import ready_and_beating
from control.processes.signals import stop_on_signals
from control.processes.tracing import open_tracing
from control.settings import load_settings, temporal_of
from ray_app.connect import open_ray_hosts
from ray_app.fleet import HostBatchRunner
from ray_app.gateway.keeper import open_keeper
from ray_app.gateway.plan import gateway_plan
from ray_app.reconciler import open_reconciler
from workflows.activities_dispatch import DispatchActivities
from workflows.client import connect
from workflows.worker import dispatch_worker, run_workers


async def main() -> None:
    """Run until SIGTERM; end with an error when the reconciler or the gateway's keeper does, to be started anew."""
    home = home_from_environment()
    log_to_stdout("dispatcher")
    endpoints = read_endpoints(home)
    config = load_settings(endpoints).config
    temporal = temporal_of(endpoints, config)
    async with AsyncExitStack() as stack:
        hosts = await enter_when_available(stack, "ray", lambda: open_ray_hosts(endpoints))
        stop = stop_on_signals()
        keepers = await stack.enter_async_context(task_owner())
        if endpoints.gateway is not None and gateway_plan(config).backends:
            # Early: replicas take seconds to start, and nothing here waits for them.
            keeper = await stack.enter_async_context(open_keeper(endpoints, config))
            keepers.start(keeper.run(), name="gateway keeper")
        ledger = await enter_when_available(
            stack, "postgres", lambda: open_ledger(endpoints.postgres, pool_size=2, name="dispatcher")
        )
        messenger = await enter_when_available(
            stack, "nats", lambda: open_messenger(endpoints.nats, role="dispatcher", name="dispatcher")
        )
        registry = await enter_when_available(stack, "registry", lambda: open_registry(endpoints, role="dispatcher"))
        tracing = await stack.enter_async_context(open_tracing(endpoints, config, "dispatcher"))
        client = await enter_when_available(
            stack, "temporal", lambda: connect(temporal, interceptors=tracing.interceptors)
        )
        owner = await stack.enter_async_context(task_owner())
        reconciler = await stack.enter_async_context(open_reconciler(ledger, hosts, registry, messenger, config))
        owner.start(reconciler.run(stop), name="reconciler")
        activities = DispatchActivities(HostBatchRunner(hosts, on_trouble=reconciler.poke, tracer=tracing.tracer))
        workers = asyncio.create_task(run_workers([dispatch_worker(client, activities)], stop), name="workers")

        async def serving() -> set[str]:
            return {host.incarnation for host in (await hosts.hosts()).values() if host.incarnation}

        owned = owner.start(shards_owned(ledger, serving), name="wait for shard owners")
        ends = {workers, owner.failed, keepers.failed}
        await asyncio.wait({*ends, owned}, return_when=asyncio.FIRST_COMPLETED)
        async with ready_and_beating(home, "dispatcher"):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await workers
        for failed in (owner.failed, keepers.failed):
            if failed.done():
                raise failed.result()


if __name__ == "__main__":
    serve_and_leave(main)
