"""Ollama's interface: bodies to OpenAI's shape, answers back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.clock import ManualClock
from colony.errors import Unavailable
from ray_app.gateway.api import ollama_requests as ollama
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.ollama_answers import EmbedRenderer, TalkRenderer
from ray_app.gateway.api.problems import problem_of
from ray_app.gateway.contracts import Kind

HELLO = [{"role": "user", "content": "hello"}]


def chat(body: dict[str, Any]) -> Any:
    return ollama.chat(body, ManualClock())


def generate(body: dict[str, Any]) -> Any:
    return ollama.generate(body, ManualClock())


def test_streaming_is_the_default() -> None:
    assert chat({"model": "tiny", "messages": HELLO}).stream
    assert generate({"prompt": "a"}).stream
    assert not chat({"messages": HELLO, "stream": False}).stream


def test_options_become_parameters() -> None:
    options = {"num_predict": 9, "temperature": 0.5, "seed": 3, "stop": ["x"], "top_k": 4, "num_ctx": 8, "num_gpu": 1}
    wanted = chat({"messages": HELLO, "options": options, "format": "json", "keep_alive": -1, "truncate": True})
    assert wanted.body == {
        "messages": HELLO,
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["x"],
        "top_k": 4,
        "response_format": {"type": "json_object"},
    }
    assert "max_tokens" not in chat({"messages": HELLO, "options": {"num_predict": -1}}).body


def test_a_schema_becomes_a_response_format() -> None:
    wanted = chat({"messages": HELLO, "format": {"type": "object"}})
    assert wanted.body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(("think", "effort"), [(True, "medium"), (False, "none"), ("high", "high")])
def test_thinking_becomes_an_effort(think: Any, effort: str) -> None:
    assert chat({"messages": HELLO, "think": think}).body["reasoning_effort"] == effort


def test_generate_is_a_chat_of_one_message_unless_raw() -> None:
    wanted = generate({"prompt": "a", "system": "be kind"})
    assert wanted.kind is Kind.CHAT
    assert wanted.body["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "a"}]
    raw = generate({"prompt": "a", "raw": True})
    assert (raw.kind, raw.body) == (Kind.COMPLETION, {"prompt": "a"})
    assert generate({"prompt": "a", "suffix": "c"}).body == {"prompt": "a", "suffix": "c"}


def test_tool_turns_get_ids() -> None:
    wanted = chat(
        {
            "messages": [
                *HELLO,
                {"role": "assistant", "tool_calls": [{"function": {"name": n, "arguments": {"a": 1}}} for n in "fg"]},
                {"role": "tool", "tool_name": "g", "content": "2"},
                {"role": "tool", "content": "1"},
            ]
        }
    )
    said = wanted.body["messages"]
    ids = [call["id"] for call in said[1]["tool_calls"]]
    assert said[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert [said[2]["tool_call_id"], said[3]["tool_call_id"]] == [ids[1], ids[0]]


def test_pictures_become_parts() -> None:
    wanted = generate({"prompt": "what is it", "images": ["aGk="]})
    assert [part["type"] for part in wanted.body["messages"][0]["content"]] == ["text", "image_url"]


def test_tiers_may_carry_a_tag() -> None:
    assert chat({"model": "fast:latest", "messages": HELLO}).model == "fast"
    assert chat({"model": "smollm2:latest", "messages": HELLO}).model == "smollm2:latest"


@pytest.mark.parametrize(
    ("parse", "body", "param"),
    [
        (chat, {}, "messages"),
        (chat, {"messages": []}, "messages"),
        (chat, {"messages": [{"role": "user", "content": ""}]}, "messages"),
        (chat, {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        (chat, {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (chat, {"messages": HELLO, "stream": 1}, "stream"),
        (chat, {"messages": HELLO, "format": "xml"}, "format"),
        (chat, {"messages": HELLO, "options": []}, "options"),
        (chat, {"messages": HELLO, "options": {"num_predict": 0}}, "num_predict"),
        (chat, {"messages": HELLO, "options": {"temperature": "hot"}}, "temperature"),
        (chat, {"messages": HELLO, "options": {"what": 1}}, "what"),
        (chat, {"messages": HELLO, "what": 1}, "what"),
        (chat, {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        (generate, {}, "prompt"),
        (generate, {"prompt": ""}, "prompt"),
        (generate, {"prompt": "a", "context": [1, 2]}, "context"),
        (generate, {"prompt": "a", "template": "{{ .Prompt }}"}, "template"),
        (lambda body: ollama.embed(body, ManualClock()), {"input": []}, "input"),
        (lambda body: ollama.embed(body, ManualClock()), {"input": [1, 2]}, "input"),
        (lambda body: ollama.embeddings(body, ManualClock()), {"prompt": ""}, "prompt"),
    ],
)
def test_wrong_bodies_are_refused(parse: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse(body)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["messages", "prompt", "input", "model", "stream", "options", "format", "images", "tools"])
MESSAGES = st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "images", "tool_name"]), JSON))


@given(
    st.dictionaries(FIELDS, JSON | MESSAGES, max_size=5),
    st.sampled_from([ollama.chat, ollama.generate, ollama.embed, ollama.embeddings]),
)
def test_any_json_is_taken_or_refused_and_nothing_else(body: dict[str, Any], parse: Any) -> None:
    with suppress(RequestRefused):
        parse(body, ManualClock())


def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"model": "tiny", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def test_a_stream_in_lines_with_durations_in_nanoseconds() -> None:
    clock = ManualClock()
    renderer = TalkRenderer("", clock, chat=True)
    clock.advance(1)
    lines = renderer.piece(piece({"role": "assistant", "content": "a"}))
    clock.advance(2)
    lines += renderer.piece(piece({}, "length"))
    lines += renderer.piece({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 5}}) + renderer.end()
    first, last = (orjson.loads(line) for line in lines.splitlines())
    assert (first["model"], first["message"]["content"], first["done"]) == ("tiny", "a", False)
    assert (last["done"], last["done_reason"]) == (True, "length")
    assert (last["prompt_eval_count"], last["eval_count"]) == (4, 5)
    assert (last["total_duration"], last["prompt_eval_duration"], last["eval_duration"]) == (
        3 * 10**9,
        10**9,
        2 * 10**9,
    )


def test_tool_calls_in_pieces_come_whole() -> None:
    renderer = TalkRenderer("tiny", ManualClock(), chat=True)
    for arguments in ('{"ci', 'ty": "Oslo"}'):
        call = {"index": 0, "function": {"name": "weather" if "ci" in arguments else None, "arguments": arguments}}
        assert renderer.piece(piece({"tool_calls": [call]})) == b""
    last = orjson.loads(renderer.end())
    assert last["message"]["tool_calls"] == [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]


def test_a_whole_answer_and_its_thoughts() -> None:
    message = {"content": "yes", "reasoning_content": "hm", "tool_calls": [{"function": {"name": "f"}}]}
    said = TalkRenderer("tiny", ManualClock(), chat=True).whole({"choices": [{"message": message}]})
    assert (said["message"]["content"], said["message"]["thinking"]) == ("yes", "hm")
    assert said["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": {}}}]
    raw = TalkRenderer("tiny", ManualClock(), chat=False).whole({"choices": [{"text": "yes"}]})
    assert (raw["response"], raw["done"]) == ("yes", True)


def test_arguments_that_are_no_json_are_handed_on() -> None:
    message = {"tool_calls": [{"function": {"name": "f", "arguments": "{broken"}}]}
    said = TalkRenderer("tiny", ManualClock(), chat=True).whole({"choices": [{"message": message}]})
    assert said["message"]["tool_calls"][0]["function"]["arguments"] == {"arguments": "{broken"}


def test_embeddings_new_and_old() -> None:
    body = {"model": "vectors", "data": [{"embedding": [1.0]}, {"embedding": [2.0]}], "usage": {"prompt_tokens": 3}}
    new = EmbedRenderer("", ManualClock(), legacy=False).whole(body)
    assert (new["model"], new["embeddings"], new["prompt_eval_count"]) == ("vectors", [[1.0], [2.0]], 3)
    assert EmbedRenderer("", ManualClock(), legacy=True).whole(body) == {"embedding": [1.0]}


def test_a_stream_that_breaks_off_says_so() -> None:
    problem = problem_of(Unavailable("gone"), retry_after=5)
    assert orjson.loads(TalkRenderer("tiny", ManualClock(), chat=True).failure(problem)) == {"error": "gone"}
