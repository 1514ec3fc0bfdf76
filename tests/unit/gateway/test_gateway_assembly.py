from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ray_app.gateway.assembly import Assembly


def piece(delta: dict[str, Any] | None = None, *, index: int = 0, end: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": end}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@given(st.lists(st.text(max_size=20), max_size=20))
def test_the_pieces_make_the_text(texts: list[str]) -> None:
    assembly = Assembly(10_000)
    for text in texts:
        assembly.add(piece({"role": "assistant", "content": text}))
    assembly.add(piece(end="stop"))
    assembly.add({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    whole = assembly.whole()
    assert whole is not None
    assert (whole["choices"][0]["message"]["content"] or "") == "".join(texts)
    assert whole["object"] == "chat.completion"
    assert whole["usage"]["completion_tokens"] == 4


def test_tool_calls_are_joined_by_their_index() -> None:
    assembly = Assembly(10_000)
    start = {"index": 0, "id": "call", "function": {"name": "weather", "arguments": ""}}
    assembly.add(piece({"tool_calls": [start]}))
    assembly.add(piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}))
    assembly.add(piece({"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]}, end="tool_calls"))
    whole = assembly.whole()
    assert whole is not None
    call = whole["choices"][0]["message"]["tool_calls"][0]
    assert call == {"id": "call", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}


def test_what_is_unfinished_or_too_large_is_no_whole_answer() -> None:
    unfinished = Assembly(10_000)
    unfinished.add(piece({"content": "half"}))
    assert unfinished.whole() is None
    large = Assembly(10)
    large.add(piece({"content": "x" * 11}))
    large.add(piece(end="stop"))
    assert large.whole() is None
    assert Assembly(10).whole() is None


def test_text_completions_keep_their_shape() -> None:
    assembly = Assembly(100)
    for text, end in (("a", None), ("b", "length")):
        choice = {"index": 0, "text": text, "finish_reason": end}
        assembly.add({"id": "t", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})
    whole = assembly.whole()
    assert whole is not None
    assert whole["choices"] == [{"index": 0, "finish_reason": "length", "text": "ab"}]
