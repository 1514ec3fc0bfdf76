"""Kept answers: bounded by bytes and age, ready to send."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from colony.clock import ManualClock
from colony.config.gateway import CacheConfig
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.cache import AnswerCache, KeptAnswer, cache_mb, shared_memory_mb
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.replay import replayed

MIB = 2**20
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def answer(text: str = "hi", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
        **fields,
    }


def kept(size: int = 10) -> KeptAnswer:
    return KeptAnswer(b"x" * size, "m", 1, 1)


def test_an_answer_comes_back_under_another_id() -> None:
    body = answer('\u20ac\n"x"')
    keep = KeptAnswer.of(body)
    assert keep.body('new"id') == {**body, "id": 'new"id'}
    assert orjson.loads(keep.encoded("a")) == {**body, "id": "a"}
    assert (keep.model, keep.prompt_tokens, keep.completion_tokens) == ("m", 7, 3)
    assert KeptAnswer.of({"id": "x"}).body("y") == {"id": "y"}


def test_hits_and_misses_are_counted() -> None:
    cache = AnswerCache(CacheConfig(), ManualClock())
    assert cache.get(b"k") is None
    assert cache.put(b"k", kept())
    assert cache.get(b"k") == kept()
    assert cache.put(b"k", kept(20))
    state = cache.state()
    assert (state["hits"], state["misses"], state["entries"], state["hit_rate"]) == (1, 1, 1, 0.5)
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_old_answers_are_not_given() -> None:
    clock = ManualClock()
    cache = AnswerCache(CacheConfig(max_age=10), clock)
    cache.put(b"a", kept())
    cache.put(b"b", kept(), age=9.5)
    assert not cache.put(b"c", kept(), age=10)
    clock.advance(1)
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None
    clock.advance(9)
    assert cache.get(b"a") is None
    assert cache.counts.expired == 2
    assert cache.bytes == 0


def test_the_answer_used_longest_ago_goes_first() -> None:
    cache = AnswerCache(CacheConfig(max_mb=1), ManualClock())
    names = [b"a", b"b", b"c", b"d"]
    for name in names:
        cache.put(name, kept(250_000))
    assert cache.get(b"a") is not None
    cache.put(b"e", kept(250_000))
    assert [name for name in (*names, b"e") if cache.get(name)] == [b"a", b"c", b"d", b"e"]
    assert cache.counts.evicted == 1


def test_what_is_too_large_or_not_wanted_is_not_kept() -> None:
    cache = AnswerCache(CacheConfig(max_entry_kb=1), ManualClock())
    assert not cache.put(b"k", kept(1024))
    off = AnswerCache(CacheConfig(max_mb=0), ManualClock())
    assert not off.enabled
    assert not off.put(b"k", kept(1))
    assert (off.counts.refused, off.bytes) == (1, 0)


@pytest.mark.parametrize("count", [683, 1366, 3000])
def test_bytes_are_counted_honestly(count: int) -> None:
    """What is counted is at least what Python allocated, and not wildly more."""
    cache = AnswerCache(CacheConfig(), ManualClock())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            key = (10**9 + number).to_bytes(32, "big")
            cache.put(key, KeptAnswer(b"x" * (100 + number % 300), f"model-{number}", 10**6 + number, 10**6 + number))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= cache.bytes <= 1.3 * taken


class CacheMachine(RuleBasedStateMachine):
    """The cache against a dictionary that remembers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.config = CacheConfig(max_mb=1, max_entry_kb=400, max_age=100)
        self.cache = AnswerCache(self.config, self.clock)
        self.model: dict[bytes, tuple[KeptAnswer, float]] = {}

    @rule(key=st.sampled_from([b"%d" % n for n in range(8)]), size=st.integers(0, 450_000), age=st.floats(0, 120))
    def put(self, key: bytes, size: int, age: float) -> None:
        if self.cache.put(key, kept(size), age=age):
            self.model[key] = kept(size), self.clock.monotonic() - age
            assert self.cache.get(key) == kept(size)

    @rule(key=st.sampled_from([b"%d" % n for n in range(8)]))
    def get(self, key: bytes) -> None:
        found = self.cache.get(key)
        if found is not None:
            expected, since = self.model[key]
            assert found == expected
            assert self.clock.monotonic() - since <= self.config.max_age + 1e-6

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def bounded(self) -> None:
        entries = self.cache._entries  # pyright: ignore[reportPrivateUsage]  # the sum must be that of what is there
        assert self.cache.bytes <= 1024 * 1024
        assert self.cache.bytes == sum(entry.size + sys.getsizeof(key) for key, (entry, _, _) in entries.items())


CacheMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestCacheMachine = CacheMachine.TestCase


CHOICE = st.fixed_dictionaries(
    {
        "message": st.fixed_dictionaries({"role": st.just("assistant"), "content": st.text()}),
        "finish_reason": st.sampled_from(["stop", "length"]),
    }
)


@given(st.lists(CHOICE, min_size=1, max_size=3))
def test_a_replayed_chat_answer_puts_together_to_itself(choices: list[dict[str, Any]]) -> None:
    numbered = [{"index": number, **choice} for number, choice in enumerate(choices)]
    assert whole(answer(choices=numbered)) == answer(choices=numbered)


def test_a_replayed_tool_call_and_a_replayed_text_put_together_to_themselves() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, call]}
    tools = answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    assert whole(tools) == tools
    text = answer(
        object="text_completion",
        choices=[{"index": 0, "text": "a", "finish_reason": "stop"}, {"index": 1, "text": "", "finish_reason": "stop"}],
    )
    assert whole(text) == text
    pieces = list(replayed(text))
    assert {piece["object"] for piece in pieces} == {"text_completion"}
    assert pieces[-1]["usage"] == USAGE
    assert pieces[-1]["choices"] == []


def whole(body: dict[str, Any]) -> dict[str, Any] | None:
    together = Assembly(1_000_000)
    for piece in replayed(body):
        together.add(piece)
    return together.whole()


@pytest.mark.parametrize(("shared", "wanted"), [(0, 8), (64, 8), (512, 32), (1024, 64), (24_000, 64)])
def test_without_a_word_it_takes_a_bounded_share_of_the_shared_memory(shared: int, wanted: int) -> None:
    assert cache_mb(CacheConfig(), shared) == wanted
    assert cache_mb(CacheConfig(max_mb=0), shared) == 0
    assert cache_mb(CacheConfig(max_mb=500), shared) == 500


async def test_the_size_of_the_shared_memory_is_that_of_the_machine(tmp_path: Path) -> None:
    assert shared_memory_mb(tmp_path / "nothing here") == 0
    assert shared_memory_mb(tmp_path) > 0
    async with answer_cache(CacheConfig(), ManualClock(), None) as cache:
        assert cache.state()["max_bytes"] == cache_mb(CacheConfig(), shared_memory_mb()) * MIB
    async with answer_cache(CacheConfig(max_mb=3), ManualClock(), None) as cache:
        assert cache.state()["max_bytes"] == 3 * MIB
