"""The cache that outlives the gateway: answers come back from a real ledger after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from colony.config.endpoints import (
    Endpoints,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.config.gateway import BackendConfig, CacheConfig, GatewayConfig
from colony.config.model import Config
from colony.ids import Id
from colony.lifecycle import Vitals
from ray_app.gateway import kept_cache
from ray_app.gateway.compose import Setting, open_gate
from ray_app.gateway.contracts import Ask, Body, Caller, Kind
from ray_app.gateway.plan import gateway_plan
from tests.servers.postgres import postgres_server


def setting(folder: Path, postgres: PostgresEndpoint) -> Setting:
    config = Config(
        gateway=GatewayConfig(backends={Id("echo"): BackendConfig(kind="scripted")}, cache=CacheConfig(persist=True))
    )
    nowhere = "127.0.0.1:9"
    endpoints = Endpoints(
        home=str(folder),
        folder=str(folder),
        postgres=postgres,
        temporal=TemporalEndpoint(address=nowhere),
        nats=NatsEndpoint(url=f"nats://{nowhere}", credentials=str(folder)),
        registry=RegistryEndpoint(kind="nats-kv"),
        ray=RayEndpoint(address=nowhere),
    )
    return Setting(endpoints, config, gateway_plan(config))


def asked(name: str, text: str) -> Ask:
    body = Body(messages=[{"role": "user", "content": text}], temperature=0)
    return Ask(request_id=name, kind=Kind.CHAT, caller=Caller(name="me"), body=body)


async def test_an_answer_kept_before_a_restart_is_a_hit_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("READ_SECONDS", "CLOSE_SECONDS"):  # a busy machine is no reason to do without the ledger here
        monkeypatch.setattr(kept_cache, patience, 30.0)
    async with postgres_server(tmp_path) as server:
        found = setting(tmp_path, await server.fresh_database())
        async with open_gate(found, Vitals()) as gate:
            first = await gate.answer(asked("first", "hello big world"))
            assert first.record.cache == "miss"
        async with open_gate(found, Vitals()) as gate:
            kept = await gate.answer(asked("second", "hello big world"))
            assert (kept.record.cache, kept.record.outcome) == ("hit", "ok")
            assert kept.body["choices"] == first.body["choices"]
            assert kept.body["id"] != first.body["id"]
            assert (await gate.answer(asked("third", "something else"))).record.cache == "miss"
            cache = (await gate.state())["cache"]
            assert (cache["recalled"], cache["hits"], cache["misses"]) == (1, 1, 1)
            assert cache["hit_rate"] == 0.5
