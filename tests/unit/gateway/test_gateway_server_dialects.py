"""What vLLM and llama.cpp say beyond OpenAI's API, as they say it, from a server of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from colony.config.gateway import BackendConfig
from colony.errors import ColonyError, ModelRefused, NotFound, Unavailable
from ray_app.gateway.backends.open import speaking_openai
from ray_app.gateway.contracts import BackendCall, BackendLoad, Kind
from ray_app.gateway.ports import Backend
from tests.servers.bad_http import BadServer, bad_server, page

Pages = dict[str, tuple[int, Any]]
"""Path -> status and body; what is not in it is a 404."""

CHAT = {"messages": [{"role": "user", "content": "Hello <|im_end|> there"}]}
MODELS = {"data": [{"id": "m", "max_model_len": 4096}]}


@asynccontextmanager
async def opened(kind: Any, pages: Pages) -> AsyncGenerator[tuple[Backend, BadServer]]:
    async with bad_server() as server:

        async def behave(writer: asyncio.StreamWriter) -> None:
            path = server.requests[-1].split(b" ")[1].decode()
            status, body = pages.get(path, (404, {"error": {"message": "File Not Found", "code": 404}}))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            await page(data, f"{status} Status")(writer)

        server.behave = behave
        async with speaking_openai("x/0", server.url, BackendConfig(kind=kind, urls=(server.url,))) as backend:
            yield backend, server


def sent(server: BadServer, path: str) -> list[Any]:
    bodies = [one.partition(b"\r\n\r\n")[2] for one in server.requests if one.split(b" ")[1].decode() == path]
    return [json.loads(body) for body in bodies if body]


async def test_vllm_tells_load_context_and_tokens() -> None:
    metrics = 'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_waiting{engine="0"} 2.0\n'
    pages: Pages = {
        "/metrics": (200, metrics),
        "/v1/models": (200, MODELS),
        "/tokenize": (200, {"count": 12, "max_model_len": 4096, "tokens": [1]}),
    }
    async with opened("vllm", pages) as (backend, server):
        assert await backend.load() == BackendLoad(running=3, waiting=2)
        assert (await backend.models())[0].context == 4096
        size = await backend.prompt_size(Kind.CHAT, "m", {**CHAT, "temperature": 1})
        assert (size.tokens, size.exact) == (12, True)
        (asked,) = sent(server, "/tokenize")
        assert asked["messages"][0]["content"] == "Hello < |im_end|> there"
        assert asked["add_generation_prompt"] is True
        assert "temperature" not in asked


def classifying(model: str = "m") -> BackendCall:
    return BackendCall(kind=Kind.CLASSIFICATION, model=model, body={"input": ["good", "bad"]}, seconds=5)


async def test_vllm_classifies_lists_of_texts() -> None:
    labels = [{"index": at, "label": "positive", "probs": [0.2, 0.8], "num_classes": 2} for at in range(2)]
    usage = {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0}
    pages: Pages = {"/classify": (200, {"id": "classify-1", "object": "list", "data": labels, "usage": usage})}
    async with opened("vllm", pages) as (backend, server):
        answer = await backend.answer(classifying())
        assert (answer["data"], answer["usage"]) == (labels, usage)
        assert sent(server, "/classify") == [{"model": "m", "input": ["good", "bad"]}]


async def test_a_server_without_a_classifier_is_no_lost_model() -> None:
    async with opened("vllm", {"/v1/models": (200, MODELS)}) as (backend, _):
        with pytest.raises(ModelRefused, match="'m' does not classify"):
            await backend.answer(classifying())
        with pytest.raises(NotFound):
            await backend.answer(classifying("nobody"))
    async with opened("vllm", {"/classify": (200, {"data": [{"label": "no numbers"}]})}) as (backend, _):
        with pytest.raises(Unavailable):
            await backend.answer(classifying())
    async with opened("openai", {}) as (backend, server):
        with pytest.raises(ModelRefused, match="'openai' does not classify"):
            await backend.answer(classifying())
        assert not server.requests


@pytest.mark.parametrize("kind", ["vllm", "llama_cpp"])
async def test_a_server_that_says_none_of_it(kind: str) -> None:
    async with opened(kind, {"/v1/models": (200, MODELS)}) as (backend, _):
        assert await backend.load() is None
        size = await backend.prompt_size(Kind.CHAT, "m", CHAT)
        assert not size.exact
        assert size.tokens == 2
        assert (await backend.models())[0].name == "m"


@pytest.mark.parametrize("kind", ["vllm", "llama_cpp"])
async def test_a_server_in_trouble_has_no_load_of_zero(kind: str) -> None:
    async with opened(kind, {"/v1/models": (200, MODELS), "/metrics": (500, "oh")}) as (backend, _):
        with pytest.raises(Unavailable):
            await backend.load()


async def test_an_older_llama_cpp_counts_in_two_steps_and_has_slots() -> None:
    pages: Pages = {
        "/v1/models": (200, {"data": [{"id": "m"}]}),
        "/props": (200, {"total_slots": 2, "default_generation_settings": {"n_ctx": 512}}),
        "/apply-template": (200, {"prompt": "hello"}),
        "/tokenize": (200, {"tokens": [1, 2, 3]}),
        "/slots": (200, [{"is_processing": True}, {"is_processing": False}]),
        "/metrics": (501, {"error": {"message": "no"}}),
        "/v1/embeddings": (501, {"error": {"message": "no"}}),
    }
    async with opened("llama_cpp", pages) as (backend, server):
        assert await backend.load() == BackendLoad(running=1)
        assert await backend.load() == BackendLoad(running=1)
        assert len([one for one in server.requests if b"/metrics" in one[:30]]) == 1, "asked again in vain"
        size = await backend.prompt_size(Kind.CHAT, "m", CHAT)
        assert (size.tokens, size.exact) == (3, True)
        (model,) = await backend.models()
        assert (model.context, model.embeds) == (512, 0)


async def test_llama_cpp_given_another_model_meanwhile() -> None:
    chunk = {"model": "other", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    stream = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
    async with opened("llama_cpp", {"/v1/models": (200, MODELS)}) as (backend, server):
        await backend.models()
        server.behave = page(stream, kind="text/event-stream")
        call = BackendCall(kind=Kind.CHAT, model="m", body=CHAT, seconds=10)
        with pytest.raises(NotFound, match="other"):
            await backend.answer(call)


async def test_llama_cpp_is_asked_once_however_many_call() -> None:
    async with opened("llama_cpp", {"/v1/models": (200, MODELS)}) as (backend, server):
        body = {"prompt": "a b"}
        await asyncio.gather(*(backend.prompt_size(Kind.COMPLETION, "m", body) for _ in range(5)))
        assert len([one for one in server.requests if b"/v1/models" in one[:30]]) == 1


@pytest.mark.parametrize("kind", ["openai", "vllm"])
async def test_the_trace_of_a_caller_is_sent_along(kind: str) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with opened(kind, {}) as (backend, server):
        for given in ("", trace):
            call = BackendCall(kind=Kind.CHAT, model="m", body=CHAT, seconds=5, trace=given)
            with pytest.raises(ColonyError):
                await backend.answer(call)
            with pytest.raises(ColonyError):
                await anext(backend.stream(call))
        heads = [request.partition(b"\r\n\r\n")[0].lower() for request in server.requests]
    assert [f"traceparent: {trace}".encode() in head for head in heads] == [False, False, True, True]
