"""The bus: `nats-server` with one user per role and JetStream."""

from __future__ import annotations

import signal

from colony.config.endpoints import NatsEndpoint, read_secret
from colony.messaging.server_config import render_server_config
from control.stack.context import LOOPBACK, StackContext
from control.stack.credentials import NATS_ROLES, write_private
from control.stack.probes import http_answers
from control.stack.spec import ServiceSpec


def endpoint(context: StackContext) -> NatsEndpoint:
    """Where the bus is."""
    provider = context.providers["nats"]
    if provider.kind == "configured":
        folder = context.config.servers.nats_credentials_folder
        credentials = str((context.folder / folder).resolve()) if folder else str(context.paths.secrets)
        return NatsEndpoint(url=provider.address, credentials=credentials)
    return NatsEndpoint(
        url=f"nats://{context.address('nats')}",
        credentials=str(context.paths.secrets),
        monitoring=f"http://{context.address('nats-monitoring')}",
    )


def spec(context: StackContext) -> ServiceSpec:
    """The server that the context decided on."""
    file, store = context.paths.configs / "nats.conf", context.paths.data("nats")
    health = f"http://{context.address('nats-monitoring')}/healthz"

    async def prepare() -> None:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(
            file,
            render_server_config(
                port=context.ports["nats"],
                monitoring_port=context.ports["nats-monitoring"],
                store=store,
                passwords={role: read_secret(context.secret(f"nats-{role}")) for role in NATS_ROLES},
                host=LOOPBACK,
            ),
        )

    async def probe(_pid: int) -> bool:
        return await http_answers(health)

    return ServiceSpec(
        name="nats",
        provider=context.providers["nats"].label,
        address=context.address("nats"),
        command=(str(context.providers["nats"].binary), "--config", str(file)),
        environment=context.server_environment(GOMEMLIMIT="128MiB"),
        folder=context.paths.run,
        probe=probe,
        patience=30.0,
        prepare=prepare,
        stop_stage=3,
        stop_signal=signal.SIGTERM,
    )
