"""From the plan to backends that can be called: the right adapter for every kind, with its connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from colony.config.endpoints import Endpoints, ModelEndpoint
from colony.config.gateway import BackendConfig
from colony.errors import ConfigInvalid
from colony.lifecycle import Vitals
from ray_app.gateway.backends.embedded_pool import open_embedded_pool
from ray_app.gateway.backends.llama_cpp import LlamaCppBackend
from ray_app.gateway.backends.ollama import open_ollama
from ray_app.gateway.backends.openai import OpenAIBackend
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.backends.vllm import VllmBackend
from ray_app.gateway.backends.wire import open_wire
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend

_SPEAKING_OPENAI = {"openai": OpenAIBackend, "vllm": VllmBackend, "llama_cpp": LlamaCppBackend}


@asynccontextmanager
async def open_backends(
    plan: GatewayPlan, endpoints: Endpoints, *, vitals: Vitals | None = None
) -> AsyncGenerator[dict[str, tuple[Backend, ...]]]:
    """Every replica of every backend, by the backend's name. Sends nothing until they are used.

    Of what works for them in the background `vitals` is told. Files of keys are looked for from the folder of the
    stack. Raises `NotFound`, `BadInput` for one of them,
    `ConfigInvalid` for a backend of the stack's own where the stack runs none.
    """
    async with AsyncExitStack() as stack:
        found: dict[str, tuple[Backend, ...]] = {}
        for name, config in plan.backends.items():
            replicas: list[Backend] = []
            for number, url in enumerate(config.urls or ("",)):
                opened = _opened(f"{name}/{number}", url, config, endpoints, vitals, pooled=plan.pooled)
                replicas.append(await stack.enter_async_context(opened))
            found[name] = tuple(replicas)
        yield found


def _opened(
    name: str, url: str, config: BackendConfig, endpoints: Endpoints, vitals: Vitals | None, *, pooled: bool
) -> AbstractAsyncContextManager[Backend]:
    if config.key_file:
        config = config.model_copy(update={"key_file": str(Path(endpoints.folder) / config.key_file)})
    match config.kind:
        case "scripted":
            return _scripted(name, config)
        case "ollama":
            return open_ollama(name, url or _own_ollama(endpoints), config)
        case "embedded":
            return _embedded(name, config, _endpoint(endpoints), vitals, pooled=pooled)
        case "openai" | "vllm" | "llama_cpp":
            return speaking_openai(name, url, config)


@asynccontextmanager
async def speaking_openai(name: str, url: str, config: BackendConfig) -> AsyncGenerator[Backend]:
    """The adapter for a server that speaks OpenAI's API: the one `config.kind` names, else that of llama.cpp."""
    adapter = _SPEAKING_OPENAI.get(config.kind, LlamaCppBackend)
    async with open_wire(url, config.key_file, config.silence) as wire:
        yield adapter(name, wire, config)


@asynccontextmanager
async def _scripted(name: str, config: BackendConfig) -> AsyncGenerator[Backend]:
    yield ScriptedBackend(name, Script(), config)


def _embedded(
    name: str, config: BackendConfig, endpoint: ModelEndpoint, vitals: Vitals | None, *, pooled: bool
) -> AbstractAsyncContextManager[Backend]:
    config = config.model_copy(update={"key_file": endpoint.key_file})
    if not pooled:
        return speaking_openai(name, endpoint.url, config)
    own = config.model_copy(update={"models": ()})  # a model's own server has but that one
    return open_embedded_pool(
        name,
        endpoint.url,
        endpoint.key_file,
        lambda url: speaking_openai(name, url, own),
        models=config.models,
        vitals=vitals,
    )


def _own_ollama(endpoints: Endpoints) -> str:
    if not endpoints.ollama:
        raise ConfigInvalid(
            "A backend of kind 'ollama' names no urls, and the stack runs no Ollama.",
            remedy="Name urls, or `colony down` and `colony up` where there is an Ollama to start.",
        )
    return endpoints.ollama


def _endpoint(endpoints: Endpoints) -> ModelEndpoint:
    if endpoints.model is None:
        raise ConfigInvalid(
            "A backend is of kind 'embedded', but the stack runs no model.",
            remedy="Set model.enabled in agent_config.yaml, then `colony down` and `colony up`.",
        )
    return endpoints.model
