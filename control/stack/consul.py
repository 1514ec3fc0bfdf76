"""The registry: a Consul server of our own with ACLs, or none where NATS keeps it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from colony.config.endpoints import RegistryEndpoint, read_secret
from colony.errors import Unavailable
from colony.registry.consul_server import ConsulPorts, bootstrap_acl, consul_configuration, consul_environment
from control.stack.context import StackContext
from control.stack.credentials import write_private
from control.stack.probes import http_json
from control.stack.spec import ServiceSpec

TOKEN_ROLES = ("host", "dispatcher", "client")


def endpoint(context: StackContext) -> RegistryEndpoint:
    """Where the registry is."""
    provider = context.providers["consul"]
    if provider.kind == "nats-kv":
        return RegistryEndpoint(kind="nats-kv")
    address = provider.address if provider.kind == "configured" else f"http://{context.address('consul')}"
    return RegistryEndpoint(kind="consul", address=address, credentials=str(_credentials(context)))


def spec(context: StackContext) -> ServiceSpec:
    """The server that the context decided on."""
    file, data = context.paths.configs / "consul.json", context.paths.data("consul")
    base, management = f"http://{context.address('consul')}", read_secret(context.secret("consul-management"))
    ports = ConsulPorts(
        http=context.ports["consul"], server=context.ports["consul-server"], serf=context.ports["consul-serf"]
    )

    async def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = consul_configuration(
            data=data,
            ports=ports,
            management_token=management,
            gossip_key=read_secret(context.secret("consul-gossip")),
        )
        write_private(file, json.dumps(configuration, indent=1))

    async def probe(_pid: int) -> bool:
        try:
            return bool(await http_json(f"{base}/v1/status/leader"))
        except Unavailable:
            return False

    async def finish() -> None:
        tokens = {role: read_secret(context.secret(f"consul-{role}")) for role in TOKEN_ROLES}
        await bootstrap_acl(base, management, tokens)

    return ServiceSpec(
        name="consul",
        provider=context.providers["consul"].label,
        address=context.address("consul"),
        command=(str(context.providers["consul"].binary), "agent", f"-config-file={file}"),
        environment=context.server_environment(**consul_environment()),
        folder=context.paths.run,
        probe=probe,
        patience=30.0,
        prepare=prepare,
        finish=finish,
        stop_stage=3,
        stop_signal=signal.SIGINT,  # ends at once; SIGTERM makes a server leave its cluster of one first
    )


def place_configured_token(context: StackContext) -> None:
    """For a Consul of the user's own: every role uses the token of `servers.consul_token_file`."""
    file = context.config.servers.consul_token_file
    if context.providers["consul"].kind != "configured" or not file:
        return
    folder = _credentials(context)
    folder.mkdir(mode=0o700, exist_ok=True)
    for role in TOKEN_ROLES:
        write_private(folder / f"consul-{role}", read_secret(context.folder / file))


def _credentials(context: StackContext) -> Path:
    configured = context.providers["consul"].kind == "configured"
    return context.paths.secrets / "configured" if configured else context.paths.secrets
