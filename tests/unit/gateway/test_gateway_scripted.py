from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded, ModelRefused, Overloaded, Unavailable
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import BackendCall, Chunk, Kind
from tests.eventually import assert_eventually


def backend(script: Script | None = None, **given: Any) -> ScriptedBackend:
    return ScriptedBackend("s/0", script or Script(), BackendConfig(kind="scripted", **given))


def call(text: str = "say this", seconds: float = 20.0, **given: Any) -> BackendCall:
    body = {"messages": [{"role": "user", "content": text}], **given}
    return BackendCall(kind=Kind.CHAT, model="scripted", body=body, seconds=seconds)


async def said(one: ScriptedBackend, asked: BackendCall) -> str:
    return (await one.answer(asked))["choices"][0]["message"]["content"]


async def streamed(one: ScriptedBackend, asked: BackendCall) -> list[Chunk]:
    async with aclosing(one.stream(asked)) as pieces:
        return [piece async for piece in pieces]


async def test_it_repeats_what_is_asked_or_obeys_its_script() -> None:
    assert await said(backend(), call("one two")) == "one two"
    assert await said(backend(Script("three")), call()) == "three"
    assert await said(backend(Script(lambda asked: f"to {asked.model}")), call()) == "to scripted"
    one = backend(Script("usual"))
    one.then("first", Overloaded("no", retry_after=3))
    assert await said(one, call()) == "first"
    with pytest.raises(Overloaded):
        await said(one, call())
    assert await said(one, call()) == "usual"


async def test_calls_beyond_its_slots_wait() -> None:
    one = backend(Script(first=0.01), slots=2)
    await asyncio.gather(*(said(one, call()) for _ in range(6)))
    assert one.most_at_once == 2
    assert (one.running, one.waiting, len(one.calls)) == (0, 0, 6)


async def test_it_streams_token_by_token() -> None:
    pieces = await streamed(backend(), call("one two three"))
    texts = [piece["choices"][0]["delta"].get("content") for piece in pieces[:-1]]
    assert texts == ["one", " two", " three", None]
    assert pieces[-1]["usage"]["completion_tokens"] == 3


async def test_it_hangs_until_it_is_revived() -> None:
    one = backend()
    one.hang()
    with pytest.raises(DeadlineExceeded):
        await said(one, call(seconds=0.02))
    waiting = asyncio.ensure_future(said(one, call()))
    await assert_eventually(lambda: one.running)
    one.revive()
    assert await waiting == "say this"


async def test_it_dies_in_the_middle_of_a_stream_and_comes_back() -> None:
    one = backend(Script("one two three", each=5.0))
    pieces = one.stream(call())
    await anext(pieces)
    following = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    one.die()
    with pytest.raises(Unavailable):
        await following
    with pytest.raises(Unavailable):
        await said(one, call())
    with pytest.raises(Unavailable):
        await one.models()
    one.revive()
    assert await said(backend(), call()) == "say this"
    assert one.running == 0


async def test_it_breaks_off_what_is_under_way_only() -> None:
    one = backend(Script(first=0.5))
    working = asyncio.ensure_future(said(one, call()))
    await assert_eventually(lambda: one.running)
    await asyncio.sleep(0)
    one.break_off()
    with pytest.raises(Unavailable):
        await working
    assert await said(one, call()) == "say this"


async def test_callers_who_leave_are_counted_and_free_their_slot() -> None:
    one = backend(Script(first=60), slots=1)
    working = asyncio.ensure_future(said(one, call()))
    await assert_eventually(lambda: one.running)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    pieces = backend_stream = one.stream(call())
    starting = asyncio.ensure_future(anext(pieces))
    await assert_eventually(lambda: one.running)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await backend_stream.aclose()
    assert (one.left, one.running) == (2, 0)


async def test_equal_inputs_have_equal_labels() -> None:
    asked = BackendCall(kind=Kind.CLASSIFICATION, model="scripted", body={"input": ["a", "b", "a"]}, seconds=1)
    first, second, third = (await backend().answer(asked))["data"]
    assert (first["label"], first["probs"]) == (third["label"], third["probs"])
    assert first["probs"] != second["probs"]
    assert sum(first["probs"]) == pytest.approx(1)
    with pytest.raises(ModelRefused):
        await streamed(backend(), asked)


async def test_equal_inputs_have_equal_embeddings() -> None:
    asked = BackendCall(kind=Kind.EMBEDDING, model="scripted", body={"input": ["a", "b", "a"]}, seconds=1)
    first, second, third = (one["embedding"] for one in (await backend().answer(asked))["data"])
    assert first == third != second
