from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colony.config.endpoints import Endpoints, ModelEndpoint
from colony.config.gateway import BackendConfig
from colony.errors import ConfigInvalid, NotFound
from colony.ids import Id
from ray_app.gateway.backends.embedded_pool import EmbeddedPoolBackend
from ray_app.gateway.backends.llama_cpp import LlamaCppBackend
from ray_app.gateway.backends.ollama import OllamaBackend
from ray_app.gateway.backends.open import open_backends
from ray_app.gateway.backends.openai import OpenAIBackend
from ray_app.gateway.backends.scripted import ScriptedBackend
from ray_app.gateway.backends.vllm import VllmBackend
from ray_app.gateway.plan import GatewayPlan

HERE, THERE = "http://127.0.0.1:1", "http://127.0.0.1:2/v1"


def endpoints(folder: Path, model: ModelEndpoint | None = None) -> Endpoints:
    # Only what is read here: the rest of a stack is of no interest.
    return Endpoints.model_construct(home=str(folder), folder=str(folder), model=model)


def plan(pooled: bool = False, **configs: BackendConfig) -> GatewayPlan:
    return GatewayPlan({Id(name): config for name, config in configs.items()}, {}, pooled)


async def test_every_kind_gets_its_adapter_and_every_url_a_replica(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    kinds: dict[str, tuple[Any, type]] = {
        "a": (BackendConfig(kind="openai", urls=(HERE, THERE), key_file="key"), OpenAIBackend),
        "b": (BackendConfig(kind="vllm", urls=(HERE,)), VllmBackend),
        "c": (BackendConfig(kind="llama_cpp", urls=(HERE,)), LlamaCppBackend),
        "d": (BackendConfig(kind="ollama", urls=(HERE,)), OllamaBackend),
        "e": (BackendConfig(kind="scripted"), ScriptedBackend),
        "f": (BackendConfig(kind="embedded"), LlamaCppBackend),
    }
    stack = endpoints(tmp_path, ModelEndpoint(url=HERE))
    async with open_backends(plan(**{name: config for name, (config, _) in kinds.items()}), stack) as found:
        assert {name: type(replicas[0]) for name, replicas in found.items()} == {
            name: adapter for name, (_, adapter) in kinds.items()
        }
        assert [replica.name for replica in found["a"]] == ["a/0", "a/1"]


async def test_without_an_address_it_is_the_ollama_of_the_stack(tmp_path: Path) -> None:
    stack = endpoints(tmp_path).model_copy(update={"ollama": HERE})
    async with open_backends(plan(a=BackendConfig(kind="ollama")), stack) as found:
        assert isinstance(found["a"][0], OllamaBackend)


async def test_a_pool_of_models(tmp_path: Path) -> None:
    stack = endpoints(tmp_path, ModelEndpoint(url=HERE))
    async with open_backends(plan(pooled=True, a=BackendConfig(kind="embedded")), stack) as found:
        assert isinstance(found["a"][0], EmbeddedPoolBackend)


async def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        await opened(plan(a=BackendConfig(kind="embedded")), endpoints(tmp_path))
    with pytest.raises(ConfigInvalid, match="Ollama"):
        await opened(plan(a=BackendConfig(kind="ollama")), endpoints(tmp_path))
    with pytest.raises(NotFound):
        await opened(plan(a=BackendConfig(kind="openai", urls=(HERE,), key_file="nowhere")), endpoints(tmp_path))


async def opened(asked: GatewayPlan, stack: Endpoints) -> None:
    async with open_backends(asked, stack):
        pass
