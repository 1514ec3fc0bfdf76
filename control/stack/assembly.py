"""From a data directory and a configuration to the services of a stack and their addresses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from colony.config.endpoints import ApiEndpoint, Endpoints, ModelEndpoint
from colony.config.model import Config
from colony.errors import BadInput
from control.stack import consul, gateway, nats, ollama, postgres, processes, ray, temporal, temporal_ui
from control.stack.binaries import find_binaries
from control.stack.context import StackContext
from control.stack.paths import StackPaths
from control.stack.ports import USUAL, choose_ports, port_is_free, read_ports, write_ports
from control.stack.providers import choose_providers
from control.stack.spec import ServiceSpec

SERVERS = {
    "postgres": postgres.spec,
    "nats": nats.spec,
    "temporal": temporal.spec,
    "temporal-ui": temporal_ui.spec,
    "consul": consul.spec,
    "ray": ray.spec,
}


def decide(
    paths: StackPaths,
    config: Config,
    *,
    config_file: str,
    folder: Path,
    profile: str,
    usual_ports: bool,
    ours: frozenset[int],
) -> StackContext:
    """Choose providers and ports, and remember the ports. Raises `BadInput` with a remedy."""
    providers = choose_providers(profile, config.servers, find_binaries())
    ports = choose_ports(
        configured=config.servers.ports,
        remembered=read_ports(paths.ports_file),
        usual=USUAL if usual_ports else {},
        ours=ours,
        seed=int(paths.tag, 16),
        is_free=port_is_free,
    )
    write_ports(paths.ports_file, ports)
    return StackContext(
        paths=paths,
        config=config,
        config_file=config_file,
        folder=folder,
        profile=profile,
        ports=ports,
        providers=providers,
    )


def endpoints_of(context: StackContext) -> Endpoints:
    """The addresses of the stack."""
    return Endpoints(
        home=str(context.paths.home),
        folder=str(context.folder),
        config_file=context.config_file,
        profile=context.profile,
        postgres=postgres.endpoint(context),
        temporal=temporal.endpoint(context),
        nats=nats.endpoint(context),
        registry=consul.endpoint(context),
        ray=ray.endpoint(context),
        model=_model(context),
        ollama=ollama.address(context),
        gateway=gateway.endpoint(context),
        api=ApiEndpoint(url=f"http://{context.address('api')}", key_file=str(context.secret("api-key"))),
    )


def _model(context: StackContext) -> ModelEndpoint | None:
    model = context.config.model
    if processes.serves_embedded(context.config):
        return ModelEndpoint(url=f"http://{context.address('model')}", key_file=str(context.secret("model-key")))
    if not model.enabled or not model.url:
        return None
    key = str((context.folder / model.key_file).resolve()) if model.key_file else ""
    return ModelEndpoint(url=model.url, key_file=key)


def specs_of(context: StackContext, only: Collection[str] = ()) -> Mapping[str, ServiceSpec]:
    """The services that run here, by name; `only` narrows them down. Raises `BadInput` for an unknown name."""
    own = {process.name: process for process in processes.wanted(context)}
    unknown = sorted(
        set(only) - set(SERVERS) - {gateway.NAME, ollama.NAME} - {process.name for process in processes.OWN}
    )
    if unknown:
        known = ", ".join([*SERVERS, *own, gateway.NAME])
        raise BadInput(f"There is no service {unknown[0]!r}.", remedy=f"Known: {known}.")
    found: dict[str, ServiceSpec] = {}
    for name, build in SERVERS.items():
        provider = context.providers.get(name)
        runs_here = provider is not None and provider.kind not in ("configured", "nats-kv")
        if runs_here and (not only or name in only):
            found[name] = build(context)
    if ollama.runs_here(context) and (not only or ollama.NAME in only):
        found[ollama.NAME] = ollama.spec(context)
    for name, process in own.items():
        if not only or name in only:
            found[name] = processes.spec(context, process)
    if gateway.runs_here(context) and (not only or gateway.NAME in only):
        found[gateway.NAME] = gateway.spec(context)
    return found
