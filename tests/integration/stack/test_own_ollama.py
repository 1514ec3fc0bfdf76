"""The Ollama that a stack starts by itself: its weights, its answers, its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from colony.config.endpoints import Endpoints
from colony.config.model import Config
from control.stack import ollama
from control.stack.binaries import find_ollama
from control.stack.context import StackContext
from control.stack.paths import StackPaths
from control.stack.ports import choose_ports, port_is_free
from control.stack.service import Service
from ray_app.gateway.backends.open import open_backends
from ray_app.gateway.contracts import BackendCall, Kind
from ray_app.gateway.plan import gateway_plan

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_ollama() is None, reason="No Ollama: make servers SERVERS=ollama"),
]


@pytest.fixture
def context() -> Generator[StackContext]:
    home = Path(tempfile.mkdtemp(prefix="ol-", dir="/tmp"))
    paths = StackPaths(home)
    paths.make()
    backend = {"kind": "ollama", "models": [ollama.OF_THE_WHEEL], "slots": 2, "context": 256}
    config = Config.model_validate({"gateway": {"backends": {"own": backend}}})
    ports = choose_ports(configured={}, remembered={}, usual={}, ours=frozenset(), seed=11, is_free=port_is_free)
    yield StackContext(paths, config, config_file="", folder=home, profile="embedded", ports=ports, providers={})
    shutil.rmtree(home, ignore_errors=True)


async def test_it_comes_with_the_installed_weights_answers_and_goes(context: StackContext) -> None:
    service = Service(ollama.spec(context), context.paths, lambda: None)
    await service.start()
    try:
        assert service.record.state == "ready"
        assert service.spec.finish is not None
        await service.spec.finish()  # a second start finds the weights there
        endpoints = Endpoints.model_construct(folder=str(context.folder), ollama=ollama.address(context))
        async with open_backends(gateway_plan(context.config), endpoints) as found:
            (backend,) = found["own"]
            assert [model.name for model in await backend.models()] == [ollama.OF_THE_WHEEL]
            body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
            call = BackendCall(kind=Kind.CHAT, model=ollama.OF_THE_WHEEL, body=body, seconds=120)
            assert (await backend.answer(call))["choices"][0]["message"]["content"]
    finally:
        await service.stop()
    assert not service.alive()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(ollama.address(context))
