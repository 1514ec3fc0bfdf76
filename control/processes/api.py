"""The `api` process: the HTTP API, and the outbox that starts what was asked for. Run as a module."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, nullcontext
from typing import Final
from urllib.parse import urlsplit

import structlog
import uvicorn

from colony.config.api import ApiConfig
from colony.config.endpoints import ApiEndpoint, Endpoints, home_from_environment, read_endpoints, read_secret
from colony.config.model import Config
from colony.errors import BadInput, ColonyError
from colony.ledger.postgres import PostgresLedger, open_ledger
from colony.ledger.submissions import SubmissionLedger
from colony.lifecycle import TaskOwner, task_owner
from colony.messaging.nats import open_messenger
from colony.messaging.port import Messenger
from colony.registry.open import open_registry
from colony.registry.port import Registry
from control.api.app import build_app
from control.api.edge import EdgeSettings
from control.api.outbox import Outbox
from control.api.parts import Parts
from control.api.slots import Slot
from control.exit import serve_and_leave
from control.processes.http import Server, listen
from control.processes.logs import log_to_stdout
from control.processes.opening import enter_when_available
from control.processes.ready import ready_and_beating
from control.processes.signals import stop_on_signals
from control.processes.tracing import Tracing, open_tracing
from control.retention import ages
from control.settings import load_settings, temporal_of
from control.why_facts import Asked
from workflows.client import connect_later
from workflows.engine import TemporalEngine
from workflows.schedules import TemporalSchedules

STOP_SECONDS: Final = 3
"""What answers under way get when the process ends."""

PRUNE_EVERY: Final = 3600.0

_log = structlog.get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM; end with an error when the outbox does, so that the supervisor starts us anew."""
    home = home_from_environment()
    log_to_stdout("api")
    endpoints = read_endpoints(home)
    endpoint = endpoints.api
    if endpoint is None:
        raise BadInput("The stack was started by a version without an API.", remedy="Run `colony down`, `colony up`.")
    settings = load_settings(endpoints).config
    temporal_of(endpoints, settings)  # before anything is opened
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        ledger = await enter_when_available(
            stack, "postgres", lambda: open_ledger(endpoints.postgres, pool_size=8, name="api")
        )
        owner = await stack.enter_async_context(task_owner())
        tracing = await stack.enter_async_context(open_tracing(endpoints, settings, "api"))
        parts = await _parts(endpoints, settings, ledger, owner, tracing)
        edge = _settings(endpoint, parts.config.api, endpoints.temporal.ui)
        listener = stack.enter_context(listen(endpoint.host, urlsplit(endpoint.url).port or 80))
        config = uvicorn.Config(
            build_app(parts, edge, tracing.tracer),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            h11_max_incomplete_event_size=32_768,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        stopping = owner.start(_wait(stop), name="stop of the api")
        async with ready_and_beating(home, "api"):
            _log.info("api serves", url=endpoint.url)
            await asyncio.wait({serving, stopping, owner.failed}, return_when=asyncio.FIRST_COMPLETED)
        parts.stopping.set()
        server.should_exit = True
        await serving
        if owner.failed.done():
            raise owner.failed.result()


async def _parts(
    endpoints: Endpoints, config: Config, ledger: PostgresLedger, owner: TaskOwner, tracing: Tracing
) -> Parts:
    """Connections; the bus and the registry may come later, Temporal whenever it answers."""
    client = await connect_later(temporal_of(endpoints, config), interceptors=tracing.interceptors)
    engine = TemporalEngine(client)
    outbox = Outbox(ledger, engine)
    messenger, registry = Slot[Messenger]("the bus"), Slot[Registry]("the registry")
    owner.start(outbox.run(), name="outbox")
    owner.start(messenger.keep(lambda: open_messenger(endpoints.nats, role="client", name="api")), name="bus")
    owner.start(registry.keep(lambda: open_registry(endpoints, role="client")), name="registry")
    keep, _ = ages(config.ledger)
    if keep is not None:
        owner.start(_prune(ledger, keep), name="forget submissions")
    return Parts(
        ledger=ledger,
        engine=engine,
        outbox=outbox,
        messenger=messenger,
        registry=registry,
        config=config,
        schedules=TemporalSchedules(client),
        asked=Asked(lambda: nullcontext(client), endpoints.gateway, config.temporal.deployment),
        codec=client.data_converter.payload_codec,
    )


def _settings(endpoint: ApiEndpoint, config: ApiConfig, ui: str) -> EdgeSettings:
    return EdgeSettings(
        key=read_secret(endpoint.key_file),
        hosts=frozenset(config.hosts),
        max_body=config.max_body_kb * 1024,
        ui_origin=ui,
    )


async def _prune(ledger: SubmissionLedger, keep: float) -> None:
    while True:
        try:
            gone = await ledger.prune_submissions(keep)
        except ColonyError as error:
            _log.warning("submissions not forgotten", error=str(error))
        else:
            if gone:
                _log.info("submissions forgotten", submissions=gone)
        await asyncio.sleep(PRUNE_EVERY)


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


if __name__ == "__main__":
    serve_and_leave(main)
