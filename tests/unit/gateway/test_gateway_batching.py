"""Small calls that go out together: nobody gets another's answer, nobody suffers for another's fault."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded, ModelRefused, Overloaded
from colony.ids import Id
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.batching import BatchedBackend, Done, Many, One, batched, sizes_state
from ray_app.gateway.contracts import BackendCall, Kind
from ray_app.gateway.joining import join_key, joined, shares, taken_apart

CONFIG = BackendConfig(kind="scripted", slots=64)


def embedding(*texts: str, **more: Any) -> BackendCall:
    given: Any = texts[0] if len(texts) == 1 else list(texts)
    return BackendCall(kind=Kind.EMBEDDING, model="scripted", body={"input": given, **more}, seconds=5)


def completion(*prompts: str, **more: Any) -> BackendCall:
    return BackendCall(kind=Kind.COMPLETION, model="scripted", body={"prompt": list(prompts), **more}, seconds=5)


def collect_all(many: Many) -> One:
    """Everything asked for in one step of the event loop goes together."""
    waiting: list[tuple[BackendCall, asyncio.Future[Done]]] = []

    async def run() -> None:
        await asyncio.sleep(0)
        calls, waiting[:] = list(waiting), []
        for (_, future), done in zip(calls, await many([call for call, _ in calls]), strict=True):
            future.set_result(done)

    async def one(call: BackendCall) -> Done:
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        waiting.append((call, future))
        task = asyncio.create_task(run()) if len(waiting) == 1 else None
        done = await future
        if task is not None:
            await task
        return done

    return one


@given(st.integers(0, 10_000), st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_shares_add_up(total: int, weights: list[int]) -> None:
    found = shares(total, weights)
    assert sum(found) == total
    assert len(found) == len(weights)
    assert min(found) >= 0


def test_only_what_is_alike_and_simple_goes_together() -> None:
    assert join_key(embedding("a")) == join_key(embedding("b", "c"))
    assert join_key(embedding("a")) != join_key(embedding("a", dimensions=8))
    assert join_key(completion("a", temperature=0)) == join_key(completion("b", temperature=0))
    assert join_key(completion("a")) != join_key(embedding("a"))
    assert join_key(completion("a", n=2)) is None
    assert join_key(BackendCall(kind=Kind.EMBEDDING, model="m", body={"input": [1, 2]}, seconds=1)) is None
    assert join_key(BackendCall(kind=Kind.CHAT, model="m", body={"messages": []}, seconds=1)) is None
    assert joined([embedding("a"), embedding("b", "c")]).body["input"] == ["a", "b", "c"]


def test_an_answer_of_another_length_is_none() -> None:
    assert taken_apart([embedding("a"), embedding("b")], {"data": [{"index": 0}]}) is None
    assert taken_apart([embedding("a")], {"data": [{"index": 1}]}) is None


async def test_everybody_gets_the_answer_to_what_they_asked() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    sizes: Counter[int] = Counter()
    backend = BatchedBackend(inner, collect_all, sizes, prompts=True)
    texts = [("one",), ("two", "three"), ("a much longer one",)]
    alone = [await inner.answer(embedding(*text)) for text in texts]
    seen = len(inner.calls)
    together = await asyncio.gather(*(backend.answer(embedding(*text)) for text in texts))
    assert len(inner.calls) == seen + 1
    assert [body["data"] for body in together] == [body["data"] for body in alone]
    assert sum(body["usage"]["prompt_tokens"] for body in together) == sum(
        body["usage"]["prompt_tokens"] for body in alone
    )
    said = await asyncio.gather(*(backend.answer(completion(text)) for text in ("x", "y", "z")))
    assert [[choice["text"] for choice in body["choices"]] for body in said] == [
        [choice["text"] for choice in (await inner.answer(completion(text)))["choices"]] for text in ("x", "y", "z")
    ]
    assert sizes_state(sizes) == {"batches": 2, "calls": 6, "mean": 3.0, "largest": 3}


async def test_the_fault_of_one_is_his_alone() -> None:
    def rule(call: BackendCall) -> str | ModelRefused:
        return ModelRefused("bad") if "bad" in call.body["prompt"] else "good"

    inner = ScriptedBackend("echo/0", Script(answer=rule), CONFIG)
    backend = BatchedBackend(inner, collect_all, Counter(), prompts=True)
    good, bad = await asyncio.gather(
        backend.answer(completion("fine")), backend.answer(completion("bad")), return_exceptions=True
    )
    assert isinstance(good, dict)
    assert isinstance(bad, ModelRefused)


async def test_ollama_takes_one_prompt_at_a_time() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    plan = {Id("echo"): CONFIG.model_copy(update={"kind": "ollama"})}
    sizes: Counter[int] = Counter()
    backend = batched({"echo": [inner]}, plan, collect_all, sizes)["echo"][0]
    await asyncio.gather(*(backend.answer(completion(text)) for text in ("x", "y")))
    assert not sizes


async def test_what_is_not_joined_goes_through() -> None:
    backend = BatchedBackend(ScriptedBackend("echo/0", Script(), CONFIG), collect_all, Counter(), prompts=True)
    assert backend.name == "echo/0"
    assert await backend.models()
    await backend.check("scripted")
    with pytest.raises(ModelRefused):
        await backend.answer(embedding("word " * 5000))


async def test_an_overloaded_server_is_not_asked_again_one_by_one() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    backend = BatchedBackend(inner, collect_all, Counter(), prompts=True)
    inner.then(Overloaded("too much", retry_after=7.0))
    found = await asyncio.gather(*(backend.answer(completion(text)) for text in ("x", "y")), return_exceptions=True)
    assert [getattr(error, "retry_after", None) for error in found] == [7.0, 7.0]
    assert len(inner.calls) == 1


async def test_what_is_asked_again_one_by_one_has_only_the_time_that_is_left() -> None:
    inner = ScriptedBackend("echo/0", Script(first=0.3), CONFIG)
    backend = BatchedBackend(inner, collect_all, Counter(), prompts=True)
    hurried = completion("x").model_copy(update={"seconds": 0.1})
    late, other = await asyncio.gather(backend.answer(hurried), backend.answer(completion("y")), return_exceptions=True)
    assert isinstance(late, DeadlineExceeded)
    assert isinstance(other, dict)
    again = inner.calls[1:]
    assert [call.body["prompt"] for call in again] == [["y"]]
    assert again[0].seconds < 5
