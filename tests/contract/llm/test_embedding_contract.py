"""Embeddings through the gateway, and a memory on top of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from colony.clock import ManualClock
from colony.config.memory import MemoryConfig
from colony.config.model import ModelConfig
from colony.errors import ColonyError, DeadlineExceeded, Permanent, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.llm.embedding import EmbedRequest
from colony.llm.http import open_gateway_model
from colony.llm.port import Caller
from colony.memory.agent_memory import AgentMemory, MemoryParts, Rememberer
from colony.memory.models import ModelEmbedder
from ray_app.gateway.backends.scripted import Script
from tests.servers.gateway import real_gateway

pytestmark = pytest.mark.contract

TEXTS = ("slugs eat lettuce", "mulch keeps the soil moist", "slugs eat lettuce")


async def test_texts_become_vectors_in_order(tmp_path: Path) -> None:
    async with (
        real_gateway(tmp_path, Script()) as (endpoint, backend),
        open_gateway_model(endpoint, ModelConfig()) as model,
    ):
        name = (await model.models())[0]
        found = await model.embed(EmbedRequest(texts=TEXTS, model=name, caller=Caller(agent="research-1", job="Run-1")))
        assert len(found.vectors) == 3
        assert found.vectors[0] == found.vectors[2] != found.vectors[1]
        assert found.model == name
        vectors = await ModelEmbedder(model, name).embed(TEXTS * 20, Caller(), 10.0)
        assert len(vectors) == 60
        assert all(math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-6) for vector in vectors)
        assert all(call.model == name for call in backend.calls)


async def test_what_goes_wrong_has_a_name(tmp_path: Path) -> None:
    async with (
        real_gateway(tmp_path, Script(), context=64) as (endpoint, _),
        open_gateway_model(endpoint, ModelConfig()) as model,
    ):
        for texts, name in ((("x",), "unknown-model"), (("word " * 100,), (await model.models())[0])):
            with pytest.raises(ColonyError) as caught:
                await model.embed(EmbedRequest(texts=texts, model=name))
            assert isinstance(caught.value, Permanent)
    async with open_gateway_model(endpoint, ModelConfig()) as model:
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await model.embed(EmbedRequest(texts=("x",), timeout=2.0))


async def test_a_memory_of_embeddings(tmp_path: Path) -> None:
    async with (
        real_gateway(tmp_path, Script()) as (endpoint, backend),
        open_gateway_model(endpoint, ModelConfig()) as model,
    ):
        embedder = ModelEmbedder(model, (await model.models())[0])
        ledger = MemoryLedger(ManualClock())
        parts = MemoryParts(ledger, embedder, MemoryConfig())
        who = Rememberer(Caller(agent="research-1", job="Run-1"), lambda: 30.0, lambda: None)
        memory = AgentMemory(parts, who)
        await memory.add(TEXTS[0])
        await memory.add(TEXTS[1])
        found = await memory.search(TEXTS[1], least=-1)
        assert found[0].text == TEXTS[1]
        assert found[0].score == pytest.approx(1.0, abs=1e-5)
        (size,) = await ledger.memory_scopes()
        assert (size.embedder, size.entries) == (embedder.name, 2)
        assert backend.calls
