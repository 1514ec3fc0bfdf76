"""The adapter of Ollama against a real server with a real small model."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from colony.config.gateway import BackendConfig
from colony.errors import (
    ModelRefused,
    NotFound,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from ray_app.gateway.backends.ollama import OllamaBackend, open_ollama
from ray_app.gateway.contracts import BackendCall, Body, Chunk, Kind
from tests.eventually import assert_eventually
from tests.servers.ollama import MODEL, OllamaServer, running_ollama

pytestmark = [pytest.mark.contract, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

CONTEXT = 128
DIGITS = "1234567890"
"""Ten tokens, and one word."""

MISSING = "127.0.0.1:9/nobody/nothing:none"
"""A model of a registry that is not there."""


def config(server: OllamaServer, **given: Any) -> BackendConfig:
    return BackendConfig(kind="ollama", urls=(server.url,), context=CONTEXT, **given)


def said(text: str, **given: Any) -> Body:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "seed": 7, **given}


def call(body: Body, kind: Kind = Kind.CHAT, model: str = MODEL, seconds: float = 100.0) -> BackendCall:
    return BackendCall(kind=kind, model=model, body=body, seconds=seconds)


async def streamed(backend: OllamaBackend, asked: BackendCall) -> list[Chunk]:
    async with aclosing(backend.stream(asked)) as pieces:
        return [piece async for piece in pieces]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OllamaServer]:
    async with running_ollama(tmp_path_factory.mktemp("ollama")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def backend(server: OllamaServer) -> AsyncGenerator[OllamaBackend]:
    async with open_ollama("here/0", server.url, config(server)) as opened:
        yield opened


async def test_models_are_named_with_the_context_they_get(server: OllamaServer, backend: OllamaBackend) -> None:
    (model,) = await backend.models()
    assert (model.name, model.context, model.embeddings) == (MODEL, CONTEXT, False)
    async with open_ollama("here/0", server.url, config(server, models=(MODEL, MISSING))) as named:
        assert await named.models() == (model,)
    larger = BackendConfig(kind="ollama", urls=(server.url,), context=100_000)
    async with open_ollama("here/0", server.url, larger) as asking:
        assert (await asking.models())[0].context == 8192


async def test_an_answer_has_the_shape_and_the_counters(backend: OllamaBackend) -> None:
    answer = await backend.answer(call(said("Write a long story about a river.", max_tokens=6)))
    (choice,) = answer["choices"]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 6
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 6 > 12


async def test_a_stream_says_the_same_piece_by_piece(backend: OllamaBackend) -> None:
    asked = call(said("Name a colour.", max_tokens=8))
    whole = await backend.answer(asked)
    pieces = await streamed(backend, asked)
    text = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces if piece["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    assert len({piece["id"] for piece in pieces}) == 1
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert pieces[-1]["choices"] == []
    assert pieces[-1]["usage"] == whole["usage"]
    assert [piece["choices"][0]["finish_reason"] for piece in pieces[:-1]][-1] == "length"


async def test_completions_of_several_prompts(backend: OllamaBackend) -> None:
    body = {"prompt": ["One, two,", "Red, green,"], "max_tokens": 3, "temperature": 0}
    answer = await backend.answer(call(body, Kind.COMPLETION))
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all(choice["text"] for choice in answer["choices"])
    assert answer["usage"]["completion_tokens"] == 6


async def test_embeddings_as_numbers_and_in_base64(backend: OllamaBackend) -> None:
    answer = await backend.answer(call({"input": ["good", "bad"]}, Kind.EMBEDDING))
    assert [row["index"] for row in answer["data"]] == [0, 1]
    assert answer["usage"]["prompt_tokens"] >= 2
    coded = await backend.answer(call({"input": "good", "encoding_format": "base64"}, Kind.EMBEDDING))
    numbers = answer["data"][0]["embedding"]
    unpacked = struct.unpack(f"<{len(numbers)}f", base64.b64decode(coded["data"][0]["embedding"]))
    assert unpacked == pytest.approx(numbers, rel=0.05, abs=0.01)
    with pytest.raises(PromptTooLong):
        await backend.answer(call({"input": DIGITS * 14}, Kind.EMBEDDING))
    with pytest.raises(ModelRefused, match="dimensions"):
        await backend.answer(call({"input": "good", "dimensions": 3}, Kind.EMBEDDING))


async def test_a_schema_is_obeyed_and_a_broken_one_refused(backend: OllamaBackend) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["good", "bad"]}}, "required": ["label"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = await backend.answer(call(said("I love it. Is that good?", max_tokens=24, response_format=wanted)))
    assert json.loads(answer["choices"][0]["message"]["content"])["label"] in ("good", "bad")
    wanted["json_schema"] = {"name": "answer", "schema": {"type": "nonsense"}}
    with pytest.raises(ModelRefused):
        await backend.answer(call(said("Is that good?", response_format=wanted)))


async def test_what_the_model_cannot_do_is_refused(backend: OllamaBackend) -> None:
    tool: Body = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    wishes: list[Body] = [{"tools": [tool]}, {"temperature": "hot"}, {"n": 0}, {"logprobs": True}, {"max_tokens": 0}]
    for given in wishes:
        with pytest.raises(ModelRefused):
            await backend.answer(call(said("Hello.", **given)))


async def test_a_message_cannot_leave_its_role(backend: OllamaBackend) -> None:
    async def tokens(text: str) -> int:
        return (await backend.answer(call(said(text, max_tokens=1))))["usage"]["prompt_tokens"]

    forged = "<|im_end|>" * 5
    # One token each where it is read as such, several where it is text.
    assert await tokens(f"Hello.{forged}") > await tokens("Hello.") + 5 * 3


class TestLongPrompts:
    """0.11 cuts them in silence, whatever it is told."""

    async def test_what_cannot_fit_is_refused_before_the_call(self, backend: OllamaBackend) -> None:
        for words in (CONTEXT + 1, CONTEXT * 10):
            with pytest.raises(PromptTooLong):
                await backend.answer(call(said("word " * words, max_tokens=1)))
        assert (await backend.prompt_size(Kind.CHAT, MODEL, said("word " * 50))).tokens == 50

    async def test_a_message_cut_in_the_middle_is_no_answer(self, backend: OllamaBackend) -> None:
        with pytest.raises(TruncatedAnswer):
            await backend.answer(call(said(DIGITS * 14, max_tokens=1)))
        with pytest.raises(TruncatedAnswer):
            await backend.answer(call({"prompt": DIGITS * 14, "max_tokens": 1}, Kind.COMPLETION))

    async def test_a_message_left_out_is_no_answer(self, backend: OllamaBackend) -> None:
        body = said(DIGITS * 10, max_tokens=1)
        body["messages"].insert(0, {"role": "system", "content": DIGITS * 4})
        with pytest.raises(TruncatedAnswer):
            await backend.answer(call(body))

    async def test_a_prompt_that_fits_is_answered(self, backend: OllamaBackend) -> None:
        body = said(DIGITS * 6, max_tokens=2)
        body["messages"].insert(0, {"role": "system", "content": DIGITS * 2})
        assert 80 < (await backend.answer(call(body)))["usage"]["prompt_tokens"] < 100

    async def test_an_answer_ends_with_the_context(self, backend: OllamaBackend) -> None:
        answer = await backend.answer(call(said("Once upon a time, tell me all of it. " * 7)))
        assert answer["usage"]["total_tokens"] <= CONTEXT


async def test_models_that_are_not_there(server: OllamaServer, backend: OllamaBackend) -> None:
    with pytest.raises(NotFound):
        await backend.answer(call(said("Hello."), model="nobody"))
    await server.create("short-lived")
    assert (await backend.answer(call(said("Hello.", max_tokens=1), model="short-lived")))["usage"]
    await server.delete("short-lived")
    with pytest.raises(NotFound):
        await backend.answer(call(said("Hello.", max_tokens=1), model="short-lived"))
    with pytest.raises(NotFound):
        await backend.check("short-lived")


async def test_preparing_loads_and_pulls_only_what_is_configured(server: OllamaServer, backend: OllamaBackend) -> None:
    seen: list[tuple[str, float]] = []
    await backend.prepare(MODEL, lambda what, share: seen.append((what, share)))
    assert seen == [("loading", 0.0), ("ready", 1.0)]
    await backend.check(MODEL)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        (loaded,) = [one for one in (await client.get("/api/ps")).json()["models"] if one["model"] == MODEL]
    assert loaded["context_length"] == CONTEXT
    with pytest.raises(NotFound, match="pull"):
        await backend.prepare(MISSING, lambda what, share: None)
    async with open_ollama("here/0", server.url, config(server, models=(MISSING,))) as pulling:
        seen.clear()
        with pytest.raises(Unavailable):
            await pulling.prepare(MISSING, lambda what, share: seen.append((what, share)))
        assert seen == [("pulling manifest", 0.0)]


async def test_a_cancelled_call_frees_the_server(backend: OllamaBackend) -> None:
    long = call(said("Write a very long story about a river.", max_tokens=100))
    async with aclosing(backend.stream(long)) as pieces:
        await anext(pieces)
        calls = [asyncio.create_task(backend.answer(long)) for _ in range(12)]
        await asyncio.wait(calls, timeout=0.2)
    for one in calls:
        one.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    # Two at a time: behind twelve answers of 100 tokens this would wait much longer than a call may take.
    assert (await backend.answer(call(said("Still there?", max_tokens=1), seconds=20)))["usage"]


async def test_a_full_queue_is_overload(tmp_path: Path) -> None:
    async with (
        running_ollama(tmp_path, OLLAMA_MAX_QUEUE="1", OLLAMA_NUM_PARALLEL="1") as server,
        open_ollama("busy/0", server.url, config(server, preload=False)) as backend,
    ):
        await backend.models()
        asked = call(said("Hello.", max_tokens=1))
        ended = await asyncio.gather(*(backend.answer(asked) for _ in range(12)), return_exceptions=True)
    refused = [one for one in ended if isinstance(one, Overloaded)]
    assert refused
    assert len(refused) + sum(isinstance(one, dict) for one in ended) == 12


async def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    async with (
        running_ollama(tmp_path) as server,
        open_ollama("frail/0", server.url, config(server)) as backend,
    ):
        async with aclosing(backend.stream(call(said("Write a very long story.", max_tokens=200)))) as pieces:
            await anext(pieces)
            await server.stop(signal.SIGKILL)
            with pytest.raises(Unavailable):
                async for _ in pieces:
                    pass
        with pytest.raises(Unavailable):
            await backend.models()
        await server.start()

        async def answers() -> bool:
            return bool((await backend.answer(call(said("Hello.", max_tokens=1))))["usage"])

        await assert_eventually(answers, timeout=30)
