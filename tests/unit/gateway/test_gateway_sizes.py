from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import PromptTooLong
from ray_app.gateway.contracts import Kind
from ray_app.gateway.sizes import answer_tokens, fitted, most_tokens, reserved_tokens


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


@given(st.text(max_size=200))
def test_the_bound_is_never_below_a_token_a_byte(text: str) -> None:
    assert most_tokens(Kind.CHAT, chat(text)) >= len(text.encode("utf-8", "surrogatepass"))
    assert most_tokens(Kind.COMPLETION, {"prompt": [text, text]}) >= 2 * len(text.encode("utf-8", "surrogatepass"))
    assert most_tokens(Kind.EMBEDDING, {"input": text}) >= len(text.encode("utf-8", "surrogatepass"))


def test_tools_and_parts_count_too() -> None:
    parts = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 500}]}],
        "tools": [{"a": "y" * 500}],
    }
    assert most_tokens(Kind.CHAT, parts) > 1000


@given(prompt=st.integers(0, 5000), context=st.integers(1, 4000), answer=st.integers(1, 9000))
def test_what_is_let_through_always_fits(prompt: int, context: int, answer: int) -> None:
    try:
        body = fitted(Kind.CHAT, chat("x", max_tokens=answer), prompt, model="m", context=context)
    except PromptTooLong:
        assert prompt >= context or answer > context
    else:
        allowed = answer_tokens(body)
        assert allowed is not None
        assert 1 <= allowed <= answer
        assert prompt + allowed <= context


def test_the_newer_name_of_the_limit_is_kept() -> None:
    body = fitted(Kind.CHAT, chat("x", max_completion_tokens=90), 50, model="m", context=100)
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


def test_an_input_to_embed_needs_no_room_for_an_answer() -> None:
    assert fitted(Kind.EMBEDDING, {"input": "x"}, 100, model="m", context=100) == {"input": "x"}
    with pytest.raises(PromptTooLong, match="101 tokens"):
        fitted(Kind.EMBEDDING, {"input": "x"}, 101, model="m", context=100)


def test_several_answers_are_reserved_for() -> None:
    assert reserved_tokens(Kind.CHAT, chat("x", max_tokens=10, n=3), 100, 2048) == 130
    assert reserved_tokens(Kind.CHAT, chat("x"), 100, 300) == 300
    assert reserved_tokens(Kind.EMBEDDING, {"input": "x"}, 7, 300) == 7
