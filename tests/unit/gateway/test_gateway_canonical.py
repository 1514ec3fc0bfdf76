"""Equal requests have equal keys, different ones do not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput
from ray_app.gateway.canonical import PREFIX_LETTERS, cache_key, is_deterministic, may_be_cached, prefix_hash
from ray_app.gateway.contracts import Ask, CachePolicy, Caller, Kind

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}


def ask(body: dict[str, Any], kind: Kind = Kind.CHAT, **fields: Any) -> Ask:
    return Ask(request_id="r", kind=kind, caller=Caller(), body=body, **fields)


def chat(**changes: Any) -> Ask:
    return ask({**CHAT, **changes})


@pytest.mark.parametrize(
    "same",
    [
        {"temperature": 0.0},
        {"temperature": -0.0},
        {"user": "u", "metadata": {"a": 1}, "stream": True, "stream_options": {"include_usage": True}},
        {"n": 1, "presence_penalty": 0.0, "frequency_penalty": 0, "logit_bias": {}, "tools": [], "stop": []},
        {"stop": None, "seed": None, "tool_choice": "none", "response_format": {"type": "text"}},
        {"messages": [{"content": [{"type": "text", "text": "hello"}], "role": "user", "name": None}]},
    ],
)
def test_what_means_the_same_has_the_same_key(same: dict[str, Any]) -> None:
    assert cache_key(chat(**same)) == cache_key(chat())


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.1},
        {"temperature": 1},
        {"seed": 0},
        {"n": 2},
        {"max_tokens": 1},
        {"stop": ["x"]},
        {"unknown_option": 1},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "system", "content": "hello"}]},
        {"messages": [{"role": "user", "content": "hello "}]},
        {"messages": [{"role": "user", "content": "hel"}, {"role": "user", "content": "lo"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]},
    ],
)
def test_what_means_something_else_has_another_key(other: dict[str, Any]) -> None:
    assert cache_key(chat(**other)) != cache_key(chat())


def test_names_of_one_field_are_one() -> None:
    assert cache_key(chat(max_tokens=5)) == cache_key(chat(max_completion_tokens=5))
    assert cache_key(chat(stop="x")) == cache_key(chat(stop=["x"]))
    prompts = [ask({"prompt": value}, Kind.COMPLETION) for value in ("p", ["p"], ["p", "q"])]
    assert cache_key(prompts[0]) == cache_key(prompts[1]) != cache_key(prompts[2])


def test_model_kind_and_tier_are_part_of_the_key() -> None:
    base = ask(CHAT, model="m")
    keys = {
        cache_key(base),
        cache_key(ask(CHAT, model="other")),
        cache_key(ask(CHAT, tier="fast")),
        cache_key(ask(CHAT, tier="fast"), "m"),
        cache_key(ask(CHAT, tier="fast"), "other"),
        cache_key(ask(CHAT, tier="complex")),
        cache_key(ask(CHAT, Kind.COMPLETION, model="m")),
    }
    assert len(keys) == 7


def test_who_asks_makes_no_difference() -> None:
    other = Ask(request_id="x", kind=Kind.CHAT, caller=Caller(name="a", job="j"), model="m", body=CHAT, priority=1)
    assert cache_key(other) == cache_key(ask(CHAT, model="m"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def shuffled(value: Any, seed: random.Random) -> Any:
    if isinstance(value, dict):
        pairs = list(value.items())
        seed.shuffle(pairs)
        return {name: shuffled(entry, seed) for name, entry in pairs}
    return [shuffled(entry, seed) for entry in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6), st.randoms(use_true_random=False))
def test_order_of_fields_makes_no_difference(body: dict[str, Any], seed: random.Random) -> None:
    assert cache_key(ask(body)) == cache_key(ask(shuffled(body, seed)))


@given(JSON, JSON)
def test_values_that_differ_have_different_keys(first: Any, second: Any) -> None:
    if repr(first) == repr(second) or first == second or None in (first, second):
        return
    assert cache_key(chat(messages=[{"role": "user", "content": "x"}], option={"v": first})) != cache_key(
        chat(messages=[{"role": "user", "content": "x"}], option={"v": second})
    )


def test_what_is_no_json_is_bad_input() -> None:
    with pytest.raises(BadInput):
        cache_key(chat(messages=object()))


def test_deterministic_means_one_answer_at_temperature_0_or_with_a_seed() -> None:
    assert is_deterministic(chat())
    assert is_deterministic(ask({"prompt": "p", "temperature": 0.7, "seed": 0}, Kind.COMPLETION))
    assert is_deterministic(ask({"input": "p"}, Kind.EMBEDDING))
    assert not is_deterministic(ask({"messages": []}))
    assert not is_deterministic(chat(temperature=0.1))
    assert not is_deterministic(chat(n=2))
    assert not is_deterministic(ask({"prompt": "p", "temperature": 0, "best_of": 3}, Kind.COMPLETION))


def test_the_policy_of_a_request_wins() -> None:
    random_one, fixed = {"messages": []}, CHAT
    assert [may_be_cached(ask(body, cache=policy)) for body in (random_one, fixed) for policy in CachePolicy] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]


def test_equal_starts_have_equal_prefixes() -> None:
    system = {"role": "system", "content": "You judge reviews."}
    one, two = (prefix_hash(chat(messages=[system, {"role": "user", "content": text}])) for text in ("first", "second"))
    assert one == two > 0
    assert prefix_hash(chat(messages=[{"role": "system", "content": "Other."}])) not in (0, one)
    assert prefix_hash(chat(messages=[system], tools=[{"type": "function"}])) not in (0, one)
    long = "x" * PREFIX_LETTERS
    starts = {prefix_hash(ask({"prompt": long + end}, Kind.COMPLETION)) for end in ("", "a", "b")}
    assert len(starts) == 1
    assert starts == {prefix_hash(chat(messages=[{"role": "user", "content": [{"type": "text", "text": long}]}]))}


@given(JSON, st.sampled_from(list(Kind)))
def test_any_body_has_a_prefix(value: Any, kind: Kind) -> None:
    for body in ({}, {"messages": value, "prompt": value}, {"messages": [{"role": "user", "content": value}]}):
        if isinstance(body.get("messages"), int | float):
            continue
        assert 0 <= prefix_hash(ask(body, kind)) < 2**63
