"""How long a prompt can be for Ollama, and what its counters give away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_app.gateway.backends.ollama_prompt import (
    Density,
    answer_limit,
    lost_part,
    measured,
    obeys_truncate,
    prompt_of,
)
from ray_app.gateway.contracts import Body, Kind

ENGLISH = "The river carries what the rain has taken from the fields above. "
CONTEXT = 2048


def chat(*texts: str, system: str = "") -> Body:
    messages = [{"role": "user", "content": text} for text in texts]
    return {"messages": [{"role": "system", "content": system}, *messages] if system else messages}


def english(tokens: int) -> str:
    return (ENGLISH * (tokens // 12 + 1))[: tokens * 4]


@given(st.text(max_size=300))
def test_bounds_hold_each_other(text: str) -> None:
    size = measured(text)
    assert size.least <= size.size
    assert size.letters + size.marks + size.wide == len(text)
    prompt = prompt_of(Kind.CHAT, chat(text))
    assert prompt.least <= prompt.most


def test_what_is_counted_of_a_request() -> None:
    parts = [
        {"type": "text", "text": "two words"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}},
    ]
    assert prompt_of(Kind.CHAT, {"messages": [{"role": "user", "content": parts}]}).whole.words == 2
    thought = {"role": "assistant", "content": "<think>many words of thought</think>one"}
    assert prompt_of(Kind.CHAT, {"messages": [thought]}).whole.words == 1
    assert prompt_of(Kind.COMPLETION, {"prompt": ["one", "two three"]}).whole.words == 2
    assert prompt_of(Kind.EMBEDDING, {"input": "one two"}).whole.words == 2
    assert prompt_of(Kind.CHAT, {}).least == 0
    called = {"role": "assistant", "content": "one", "tool_calls": [{"id": "x", "function": {"name": "a b c"}}]}
    tools = prompt_of(Kind.CHAT, {"messages": [called], "tools": [{"function": {"description": "a b"}}]})
    assert tools.least == 1
    assert tools.whole.size > 8


def test_a_whole_context_read_is_a_cut_prompt() -> None:
    prompt = prompt_of(Kind.COMPLETION, {"prompt": english(3000)})
    assert lost_part(prompt, CONTEXT, CONTEXT, 1.0)
    assert lost_part(prompt, 100, CONTEXT, 1.0)
    assert not lost_part(prompt_of(Kind.COMPLETION, {"prompt": english(1500)}), 1500, CONTEXT, 1.0)


@pytest.mark.parametrize("of_system", [50, 100, 300, 900])
def test_a_system_message_left_out_is_noticed(of_system: int) -> None:
    of_user = CONTEXT - of_system + 10
    prompt = prompt_of(Kind.CHAT, chat(english(of_user), system=english(of_system)))
    assert lost_part(prompt, of_user + 8, CONTEXT, 1.0)


def test_early_turns_left_out_are_noticed() -> None:
    prompt = prompt_of(Kind.CHAT, chat(*[english(300)] * 8, system=english(100)))
    assert lost_part(prompt, 100 + 6 * 308, CONTEXT, 1.0)


@given(st.lists(st.integers(5, 300), min_size=1, max_size=6), st.floats(0.9, 1.1))
def test_a_prompt_with_room_left_is_never_suspected(sizes: list[int], truth: float) -> None:
    prompt = prompt_of(Kind.CHAT, chat(*[english(size) for size in sizes]))
    read = int(prompt.whole.likely * truth) + 5 * len(sizes)
    if read < 0.75 * CONTEXT:
        assert not lost_part(prompt, read, CONTEXT, 1.0)


def test_what_fits_surely_is_left_alone_and_the_rest_made_to_fit() -> None:
    short, long = prompt_of(Kind.CHAT, chat("Hello.")), prompt_of(Kind.CHAT, chat(english(1500)))
    assert answer_limit(short, 100, CONTEXT, 1.0) == 100
    assert 1900 < answer_limit(short, None, CONTEXT, 1.0) < CONTEXT
    assert 250 < answer_limit(long, 1000, CONTEXT, 1.0) < 500
    assert answer_limit(long, 100, CONTEXT, 1.0) == 100
    assert answer_limit(prompt_of(Kind.CHAT, chat(english(5000))), 100, CONTEXT, 1.0) == 1


def test_density_rises_at_once_and_falls_slowly() -> None:
    density, prompt = Density(), prompt_of(Kind.CHAT, chat(english(1000)))
    density.learn(prompt_of(Kind.CHAT, chat("Hello.")), 500)
    assert density.value == 1.0
    density.learn(prompt, 2000)
    assert density.value == pytest.approx(1.9, abs=0.1)
    density.learn(prompt, 1000)
    assert 1.6 < density.value < 1.8
    density.learn(prompt, 1_000_000)
    assert density.value == 4.0


@pytest.mark.parametrize(
    ("version", "obeys"), [("0.11.4", False), ("0.13.0", True), ("0.32.15", True), ("1.0.0-rc1", True), ("next", False)]
)
def test_versions_that_obey(version: str, obeys: bool) -> None:
    assert obeys_truncate(version) is obeys
