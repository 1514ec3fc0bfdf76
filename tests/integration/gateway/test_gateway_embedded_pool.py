"""The gateway's way to the model pool, with the real model behind it. Needs no stack."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from colony.config.gateway import BackendConfig
from colony.errors import ModelRefused, NotFound, NotPermitted, Overloaded, Unavailable
from ray_app.gateway.backends.embedded_pool import EmbeddedPoolBackend, open_embedded_pool
from ray_app.gateway.backends.open import speaking_openai
from ray_app.gateway.contracts import BackendCall, Kind, ServedModel
from ray_app.gateway.ports import Backend
from tests.eventually import assert_eventually
from tests.servers.model_pool import Pool, model_pool

SMALL = {"slots": 1, "context": 512}


@asynccontextmanager
async def embedded(pool: Pool, key_file: Path, models: tuple[str, ...] = ()) -> AsyncGenerator[EmbeddedPoolBackend]:
    config = BackendConfig(kind="embedded", key_file=str(key_file))

    def connect(url: str) -> AbstractAsyncContextManager[Backend]:
        return speaking_openai("small/0", url, config)

    async with open_embedded_pool("small/0", pool.url, str(key_file), connect, models=models) as backend:
        yield backend


@asynccontextmanager
async def both(
    folder: Path, models: dict[str, dict[str, Any]], **fields: Any
) -> AsyncGenerator[tuple[Pool, EmbeddedPoolBackend]]:
    async with model_pool(folder, models, **fields) as pool, embedded(pool, folder / "model-key") as backend:
        yield pool, backend


def chat(model: str, *, max_tokens: int = 4, seconds: float = 60) -> BackendCall:
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": max_tokens, "temperature": 0}
    return BackendCall(kind=Kind.CHAT, model=model, body=body, seconds=seconds)


def embedding(model: str, text: str) -> BackendCall:
    return BackendCall(kind=Kind.EMBEDDING, model=model, body={"input": text}, seconds=60)


async def test_calls_load_their_model_and_go_straight_to_it(tmp_path: Path) -> None:
    async with both(tmp_path, {"one": SMALL, "two": SMALL}) as (pool, backend):
        assert await backend.models() == (
            ServedModel(name="one", context=512, embeds=512),
            ServedModel(name="two", context=512, embeds=512),
        )
        async with embedded(pool, tmp_path / "model-key", models=("two",)) as narrower:
            assert [model.name for model in await narrower.models()] == ["two"]
        await backend.check("one")
        assert pool.children() == [], "neither listing nor checking loads anything"
        answers = await asyncio.gather(*(backend.answer(chat(name)) for name in ("one", "two", "one")))
        assert [answer["model"] for answer in answers] == ["one", "two", "one"]
        async with aclosing(backend.stream(chat("two"))) as stream:
            pieces = [piece async for piece in stream]
        assert pieces[-1]["usage"]["completion_tokens"] == 4
        vectors = await backend.answer(embedding("one", "a cat"))
        assert len(vectors["data"][0]["embedding"]) == 576
        assert (await backend.prompt_size(Kind.CHAT, "one", chat("one").body)).exact
        await backend.check("one")


async def test_a_model_under_way_is_neither_unloaded_nor_pushed_out(tmp_path: Path) -> None:
    async with (
        both(tmp_path, {"one": SMALL, "two": SMALL}, idle_seconds=0.5, max_mb=300) as (pool, backend),
        aclosing(backend.stream(chat("one", max_tokens=24))) as stream,
    ):
        await anext(stream)
        with pytest.raises(Overloaded, match="in use") as refused:
            await backend.answer(chat("two"))
        assert refused.value.retry_after is not None
        assert (await pool.states())["one"]["leases"] == 1
        async for _ in stream:
            pass


async def test_a_killed_model_is_unavailable_once_and_then_there_again(tmp_path: Path) -> None:
    async with both(tmp_path, {"one": SMALL, "two": SMALL}) as (pool, backend):
        await backend.answer(chat("one"))
        (child,) = pool.children()
        async with aclosing(backend.stream(chat("one", max_tokens=400))) as stream:
            await anext(stream)
            os.kill(child, signal.SIGKILL)
            with pytest.raises(Unavailable):
                async for _ in stream:
                    pass

        async def noticed() -> bool:
            return (await pool.states())["one"]["state"] == "failed"

        await assert_eventually(noticed, 30)
        assert (await backend.answer(chat("one")))["model"] == "one"
        await backend.check("one")


async def test_refusals_of_the_pool_arrive_as_errors(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_text("no model")
    models = {"huge": {"slots": 64, "context": 8192}, "bad": {"file": str(tmp_path / "bad.gguf")}}
    async with both(tmp_path, models, max_mb=300) as (pool, backend):
        with pytest.raises(ModelRefused, match="may have 300 MB"):
            await backend.answer(chat("huge"))
        with pytest.raises(Unavailable, match=r"bad\.gguf is no GGUF file"):
            await backend.answer(chat("bad"))
        with pytest.raises(Unavailable, match=r"bad\.gguf"):
            await backend.check("bad")
        with pytest.raises(NotFound, match="no model 'three'"):
            await backend.answer(chat("three"))
        (tmp_path / "wrong").write_text("another")
        async with embedded(pool, tmp_path / "wrong") as stranger:
            with pytest.raises(NotPermitted):
                await stranger.models()


async def test_a_pool_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    async with both(tmp_path, {"one": SMALL}) as (pool, backend):
        await backend.answer(chat("one"))
        pool.process.kill()
        await pool.process.wait()
        with pytest.raises(Unavailable):
            await backend.answer(chat("one"))
        with pytest.raises(Unavailable, match="does not answer"):
            await backend.models()
