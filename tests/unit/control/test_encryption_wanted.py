"""Where the configuration wants encryption, nobody goes on without, however `endpoints.json` came to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from colony.config.endpoints import (
    ApiEndpoint,
    Endpoints,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.config.model import Config
from colony.config.temporal import TemporalConfig
from colony.errors import ConfigInvalid
from control import session
from control.settings import temporal_of

WANTS = Config(temporal=TemporalConfig(codec_key_file="codec-keys"))


def endpoints(home: Path, keys: str = "") -> Endpoints:
    """As somebody wrote them by hand: nothing answers there."""
    (home / "agent_config.yaml").write_text("temporal:\n  codec_key_file: codec-keys\n")
    return Endpoints(
        home=str(home),
        folder=str(home),
        config_file=str(home / "agent_config.yaml"),
        postgres=PostgresEndpoint(host="127.0.0.1", port=1, password_file=""),
        temporal=TemporalEndpoint(address="127.0.0.1:1", codec_key_file=keys),
        nats=NatsEndpoint(url="nats://127.0.0.1:1", credentials=""),
        registry=RegistryEndpoint(kind="nats-kv"),
        ray=RayEndpoint(address="127.0.0.1:1"),
        api=ApiEndpoint(url="http://127.0.0.1:1", key_file=""),
    )


def test_the_endpoints_say_where_the_keys_are(tmp_path: Path) -> None:
    keyed = endpoints(tmp_path, "/run/secrets/codec-keys")
    assert temporal_of(keyed, WANTS) == keyed.temporal
    assert temporal_of(keyed, Config()) == keyed.temporal
    plain = endpoints(tmp_path)
    assert temporal_of(plain, Config()) == plain.temporal
    with pytest.raises(ConfigInvalid) as refused:
        temporal_of(plain, WANTS)
    assert str(plain.file) in str(refused.value)
    assert "colony up" in refused.value.remedy


async def test_a_command_gets_no_client_without_the_keys(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(endpoints(tmp_path).model_dump_json())
    with pytest.raises(ConfigInvalid):
        async with session.temporal_here(home=tmp_path):
            pass


@pytest.mark.parametrize(
    "started",
    [
        ["control.processes.worker"],
        ["control.processes.dispatcher"],
        ["control.processes.api"],
        ["control", "schedule", "list"],
        ["control", "why", "1"],
    ],
    ids=lambda started: started[-1] if len(started) == 1 else started[1],
)
def test_nothing_starts_without_the_keys(tmp_path: Path, started: list[str]) -> None:
    (tmp_path / "endpoints.json").write_text(endpoints(tmp_path).model_dump_json())
    ended = subprocess.run(
        [sys.executable, "-m", *started],
        env=os.environ | {"COLONY_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "names no keys" in ended.stdout + ended.stderr
