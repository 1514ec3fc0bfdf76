"""Small calls that go out together: nobody gets another's answer, nobody suffers for another's fault."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.gateway import BackendConfig, BatchConfig
from colony.errors import DeadlineExceeded, ModelRefused, Overloaded, Unavailable, Unreachable
from colony.ids import Id
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.batching import BatchedBackend, Done, Many, One, batched, sizes_state
from ray_app.gateway.contracts import BackendCall, Kind
from ray_app.gateway.joining import (
    inputs_of,
    inputs_to_join,
    join_key,
    joinable,
    joined,
    portions,
    shares,
    taken_apart,
    takes_joined,
)
from tests.collecting import collect_within

CONFIG = BackendConfig(kind="scripted", slots=64)


def embedding(*texts: str, **more: Any) -> BackendCall:
    given: Any = texts[0] if len(texts) == 1 else list(texts)
    return BackendCall(kind=Kind.EMBEDDING, model="scripted", body={"input": given, **more}, seconds=5)


def completion(*prompts: str, **more: Any) -> BackendCall:
    return BackendCall(kind=Kind.COMPLETION, model="scripted", body={"prompt": list(prompts), **more}, seconds=5)


def over(inner: ScriptedBackend, sizes: Counter[int] | None = None, **config: Any) -> BatchedBackend:
    return BatchedBackend(
        inner, "scripted", collect_within(0), Counter() if sizes is None else sizes, BatchConfig(**config)
    )


async def beside_another(backend: BatchedBackend, *calls: BackendCall) -> list[Any]:
    """What comes of calls made while another one is under way: the first of all waits for nobody."""
    _, *found = await asyncio.gather(*map(backend.answer, (embedding("the first"), *calls)), return_exceptions=True)
    return found


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


def test_what_may_go_out_together_depends_on_the_server() -> None:
    assert joinable(Kind.EMBEDDING, {"input": ["a"]})
    assert joinable(Kind.COMPLETION, {"prompt": ["a", "b"]})
    assert not joinable(Kind.COMPLETION, {"prompt": "a", "seed": 1})
    assert not joinable(Kind.COMPLETION, {"prompt": "a", "seed": 0})
    assert joinable(Kind.COMPLETION, {"prompt": "a", "seed": None})
    assert not joinable(Kind.CHAT, {"messages": []})
    assert inputs_to_join(Kind.EMBEDDING, {"input": ["a", "b"]}) == 2
    assert inputs_to_join(Kind.CHAT, {"messages": []}) == 0
    assert takes_joined(Kind.EMBEDDING, "ollama")
    assert not takes_joined(Kind.COMPLETION, "ollama")
    assert takes_joined(Kind.COMPLETION, "vllm")


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 40))
def test_a_batch_holds_no_more_inputs_than_it_may(lengths: list[int], most: int) -> None:
    calls = [embedding(*["a"] * length) for length in lengths]
    found = list(portions(calls, most))
    assert [at for portion in found for at in portion] == list(range(len(calls)))
    for portion in found:
        assert len(portion) == 1 or sum(inputs_of(calls[at]) for at in portion) <= most
    for portion, after in pairwise(found):
        assert sum(inputs_of(calls[at]) for at in (*portion, after[0])) > most, "a batch is filled before the next"


async def test_a_batch_is_bounded_by_inputs_and_a_long_list_goes_alone() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    sizes: Counter[int] = Counter()
    backend = over(inner, sizes, size=4)
    lists = [embedding(*[f"{name} {number}" for number in range(2)]) for name in "abcde"]
    long = embedding(*map(str, range(9)))
    found = await beside_another(backend, *lists, long)
    assert [len(body["data"]) for body in found] == [2, 2, 2, 2, 2, 9]
    assert sorted(inputs_of(call) for call in inner.calls) == [1, 2, 4, 4, 9]
    assert sizes == {1: 2, 2: 2}


async def test_who_asks_alone_waits_for_nobody() -> None:
    waited: list[BackendCall] = []

    def collect(many: Many) -> One:
        async def one(call: BackendCall) -> Done:
            waited.append(call)
            return (await many([call]))[0]

        return one

    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    backend = BatchedBackend(inner, "scripted", collect, Counter(), BatchConfig())
    for text in ("one", "after", "another"):
        await backend.answer(embedding(text))
    assert not waited
    await asyncio.gather(*(backend.answer(embedding(text)) for text in ("x", "y", "z")))
    assert len(waited) == 2


def test_an_answer_of_another_length_is_none() -> None:
    assert taken_apart([embedding("a"), embedding("b")], {"data": [{"index": 0}]}) is None
    assert taken_apart([embedding("a")], {"data": [{"index": 1}]}) is None
    assert taken_apart([embedding("a")], {"data": [{"index": "first"}]}) is None


async def test_everybody_gets_the_answer_to_what_they_asked() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    sizes: Counter[int] = Counter()
    backend = over(inner, sizes)
    texts = [("one",), ("two", "three"), ("a much longer one",)]
    alone = [await inner.answer(embedding(*text)) for text in texts]
    seen = len(inner.calls)
    together = await beside_another(backend, *(embedding(*text) for text in texts))
    assert len(inner.calls) == seen + 2
    assert [body["data"] for body in together] == [body["data"] for body in alone]
    assert sum(body["usage"]["prompt_tokens"] for body in together) == sum(
        body["usage"]["prompt_tokens"] for body in alone
    )
    said = await beside_another(backend, *(completion(text) for text in ("x", "y", "z")))
    assert [[choice["text"] for choice in body["choices"]] for body in said] == [
        [choice["text"] for choice in (await inner.answer(completion(text)))["choices"]] for text in ("x", "y", "z")
    ]
    assert sizes_state(sizes) == {"batches": 4, "calls": 8, "mean": 2.0, "largest": 3}


async def test_texts_to_classify_go_together_too() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    sizes: Counter[int] = Counter()
    calls = [BackendCall(kind=Kind.CLASSIFICATION, model="scripted", body={"input": text}, seconds=5) for text in "abc"]
    alone = [(await inner.answer(call))["data"] for call in calls]
    together = await beside_another(over(inner, sizes), *calls)
    assert [body["data"] for body in together] == alone
    assert sizes == {1: 1, 3: 1}
    assert join_key(calls[0]) != join_key(embedding("a"))


async def test_the_fault_of_one_is_his_alone() -> None:
    def rule(call: BackendCall) -> str | ModelRefused:
        return ModelRefused("bad") if "bad" in call.body.get("prompt", ()) else "good"

    inner = ScriptedBackend("echo/0", Script(answer=rule), CONFIG)
    backend = over(inner)
    good, bad = await beside_another(backend, completion("fine"), completion("bad"))
    assert isinstance(good, dict)
    assert isinstance(bad, ModelRefused)


async def test_ollama_takes_one_prompt_at_a_time() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    plan = {Id("echo"): CONFIG.model_copy(update={"kind": "ollama"})}
    sizes: Counter[int] = Counter()
    backend = batched({"echo": [inner]}, plan, collect_within(0), sizes, BatchConfig())["echo"][0]
    await asyncio.gather(*(backend.answer(completion(text)) for text in ("x", "y")))
    assert not sizes


async def test_what_is_not_joined_goes_through() -> None:
    backend = over(ScriptedBackend("echo/0", Script(), CONFIG))
    assert backend.name == "echo/0"
    assert await backend.models()
    await backend.check("scripted")
    with pytest.raises(ModelRefused):
        await backend.answer(embedding("word " * 5000))


async def test_an_overloaded_server_is_not_asked_again_one_by_one() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    backend = over(inner)
    inner.then("the first", Overloaded("too much", retry_after=7.0))
    found = await beside_another(backend, completion("x"), completion("y"))
    assert [getattr(error, "retry_after", None) for error in found] == [7.0, 7.0]
    assert len(inner.calls) == 2


async def test_a_server_that_fails_is_asked_once_more_and_not_by_each() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    backend = over(inner)
    inner.then("the first", *[Unavailable("it broke off")] * 2)
    calls = [completion(text) for text in "abcdef"]
    found = await beside_another(backend, *calls)
    assert [type(error) for error in found] == [Unavailable] * len(calls)
    assert len(inner.calls) == 3


async def test_a_server_that_takes_no_connection_is_not_asked_again() -> None:
    inner = ScriptedBackend("echo/0", Script(), CONFIG)
    backend = over(inner)
    inner.then("the first", Unreachable("nobody is there"))
    found = await beside_another(backend, completion("x"), completion("y"))
    assert [type(error) for error in found] == [Unreachable, Unreachable]
    assert len(inner.calls) == 2


async def test_who_makes_a_server_fail_does_so_alone() -> None:
    def rule(call: BackendCall) -> str | Unavailable:
        return Unavailable("500") if "bad" in call.body.get("prompt", ()) else "good"

    backend = over(ScriptedBackend("echo/0", Script(answer=rule), CONFIG))
    good, bad, other = await beside_another(backend, completion("fine"), completion("bad"), completion("too"))
    assert isinstance(good, dict)
    assert isinstance(other, dict)
    assert isinstance(bad, Unavailable)


async def test_what_is_asked_again_one_by_one_has_only_the_time_that_is_left() -> None:
    inner = ScriptedBackend("echo/0", Script(first=0.3), CONFIG)
    backend = over(inner)
    hurried = completion("x").model_copy(update={"seconds": 0.1})
    late, other = await beside_another(backend, hurried, completion("y"))
    assert isinstance(late, DeadlineExceeded)
    assert isinstance(other, dict)
    again = inner.calls[2:]
    assert [call.body["prompt"] for call in again] == [["y"]]
    assert again[0].seconds < 5
