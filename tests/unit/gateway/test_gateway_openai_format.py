from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import (
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.backends.llama_cpp_facts import facts_from
from ray_app.gateway.backends.logprobs import Logprobs
from ray_app.gateway.backends.model_list import model_list, names_in, seems_to_embed
from ray_app.gateway.backends.openai_shape import (
    Refused,
    choices_wanted,
    least_tokens,
    prompts_of,
    request_body,
    whole_answer,
)
from ray_app.gateway.backends.openai_stream import Pieces
from ray_app.gateway.backends.prometheus import figures
from ray_app.gateway.backends.refusal import refusal_of, told_refusal
from ray_app.gateway.contracts import BackendCall, Body, Kind


def call(body: Body | None = None, kind: Kind = Kind.CHAT) -> BackendCall:
    body = {"messages": [{"role": "user", "content": "Hello"}]} if body is None else body
    return BackendCall(kind=kind, model="m", body=body, seconds=1)


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def piece(text: str = "", *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def counted(prompt: int, completion: int) -> bytes:
    return event({"id": "c", "choices": [], "usage": usage(prompt, completion)})


DONE = b"data: [DONE]\n\n"


def read(data: bytes, cuts: list[int], **given: Any) -> list[Body]:
    pieces, found = Pieces(call(), **given), []
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        found += pieces.feed(data[start:end])
    if not pieces.done:
        found += pieces.finish()
    return [*found, pieces.last()]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=10), st.lists(st.integers(0, 2_000), max_size=30))
def test_a_stream_is_the_same_wherever_it_is_cut(words: list[str], cuts: list[int]) -> None:
    data = b"".join(map(piece, words)) + piece(finish="stop") + counted(3, len(words)) + DONE + piece("more")
    pieces = read(data, cuts)
    assert [one["choices"][0]["delta"]["content"] for one in pieces[:-2]] == words
    assert pieces[-1]["usage"] == usage(3, len(words))
    assembly = Assembly(1_000)
    for one in pieces:
        assembly.add(one)
    whole = assembly.whole()
    assert whole is not None
    assert whole["choices"][0]["message"]["content"] == "".join(words)


@given(st.integers(0, 600))
def test_a_stream_cut_off_is_never_taken_for_whole(size: int) -> None:
    data = piece("a") + piece("b") + piece("c") + piece(finish="stop")
    size = min(size, data.rfind(b"finish_reason") - 1)
    with pytest.raises(Unavailable):
        read(data[:size], [])


def test_a_finished_stream_needs_no_done() -> None:
    assert read(piece("a") + piece(finish="stop"), [])[-1]["usage"]["estimated"] is True
    assert read(piece("a", usage=None) + piece(finish="stop", usage=usage(5, 1)), [])[-1]["usage"] == usage(5, 1)
    with pytest.raises(Unavailable):
        read(piece("a") + piece("b", index=1) + piece(finish="stop"), [])


def test_counters_of_each_choice_are_summed_where_a_server_counts_so() -> None:
    data = piece("a") + piece("b", index=1) + piece(finish="stop") + counted(7, 3) + piece(index=1, finish="stop")
    data += counted(7, 4) + DONE
    assert read(data, [], answers_a_prompt=2)[-1]["usage"] == usage(7, 7)
    assert read(data, [], answers_a_prompt=1)[-1]["usage"] == usage(14, 7)
    assert read(data, [])[-1]["usage"] == usage(7, 4)


def test_null_events_are_no_pieces() -> None:
    assert len(read(b"data: null\n\n" + piece("a") + DONE, [])) == 2


@pytest.mark.parametrize("bad", [5, [], "x", {"choices": 5}, {"choices": [5]}, {"choices": [], "usage": 5}])
def test_pieces_in_no_shape(bad: Any) -> None:
    with pytest.raises(Unavailable):
        read(piece("a") + event(bad) + DONE, [])


def test_an_error_among_the_pieces() -> None:
    with pytest.raises(Refused) as caught:
        read(piece("a") + event({"error": {"code": 400, "message": "no", "type": "exceed_context_size_error"}}), [])
    assert isinstance(refusal_of(caught.value.status, caught.value.body), PromptTooLong)


@pytest.mark.parametrize(
    ("said", "status"), [("oh", 502), ({"code": 429}, 429), ({"code": "x"}, 502), ({"code": 200}, 502), ([], 502)]
)
def test_refusals_told_inside_an_answer(said: Any, status: int) -> None:
    assert told_refusal(said)[0] == status


def test_requests() -> None:
    body = {"messages": [], "temperature": 0}
    assert request_body(call(body), stream=False) == {**body, "model": "m"}
    streamed = request_body(call(body), stream=True)
    assert streamed["stream"] is True
    assert streamed["stream_options"] == {"include_usage": True}
    assert "stream" not in body


@pytest.mark.parametrize(
    ("kind", "body", "prompts", "choices"),
    [
        (Kind.CHAT, {"messages": [], "n": 3}, 1, 3),
        (Kind.COMPLETION, {"prompt": "a"}, 1, 1),
        (Kind.COMPLETION, {"prompt": ["a", "b"], "n": 2}, 2, 4),
        (Kind.COMPLETION, {"prompt": [1, 2, 3]}, 1, 1),
        (Kind.COMPLETION, {"prompt": []}, 1, 1),
        (Kind.EMBEDDING, {"input": ["a", "b"]}, 2, 1),
    ],
)
def test_how_many_choices_are_wanted(kind: Kind, body: Body, prompts: int, choices: int) -> None:
    assert prompts_of(call(body, kind)) == prompts
    assert choices_wanted(call(body, kind)) == choices


def test_fewest_tokens() -> None:
    parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert least_tokens(Kind.CHAT, {"messages": messages}) == 1
    assert least_tokens(Kind.COMPLETION, {"prompt": ["a " * 10, "b " * 20]}) == 18
    assert least_tokens(Kind.EMBEDDING, {"input": ""}) == 0


def test_whole_answers() -> None:
    answer = {"choices": [{"index": 0, "message": {"content": "four words are here"}}]}
    assert whole_answer(call(), json.dumps(answer).encode())["usage"]["estimated"] is True
    for wrong in ({"prompt_tokens": "many"}, {"completion_tokens": -1}, {"prompt_tokens": [1]}, 7):
        said = whole_answer(call(), json.dumps({**answer, "usage": wrong}).encode())
        assert said["usage"]["estimated"] is True
        with pytest.raises(Unavailable, match="counters"):
            Pieces(call()).feed(event({"choices": [], "usage": wrong}))
    exact = {**answer, "usage": usage(2, 1)}
    assert whole_answer(call(), json.dumps(exact).encode()) == exact
    embedded = {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 1}}
    assert whole_answer(call({"input": "a"}, Kind.EMBEDDING), json.dumps(embedded).encode()) == embedded
    long = call({"messages": [{"role": "user", "content": "word " * 500}]})
    with pytest.raises(TruncatedAnswer):
        whole_answer(long, json.dumps(exact).encode())
    for bad in (
        b"",
        b"[]",
        b'{"choices": []}',
        b'{"data": [{}]}',
        b'{"choices": [{"text": "a"}]}',
        b'{"choices": NaN}',
    ):
        with pytest.raises(Unavailable):
            whole_answer(call(), bad)


VLLM_TOO_LONG = (
    b'{"error": {"message": "This model\'s maximum context length is 256 tokens. However, your prompt has at least '
    b'257 input tokens.", "type": "BadRequestError", "param": "input_tokens", "code": 400}}'
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"", ModelRefused),
        (400, VLLM_TOO_LONG, PromptTooLong),
        (401, b'{"error": "secret"}', NotPermitted),
        (404, b'{"error": {"message": "The model `x` does not exist."}}', NotFound),
        (404, b"<html>", Unavailable),
        (422, b"[]", ModelRefused),
        (429, b"", Overloaded),
        (429, b'{"error": {"code": "insufficient_quota"}}', Unavailable),
        (500, b'{"error": {"message": "input (901 tokens) is too large to process."}}', PromptTooLong),
        (500, b"", Unavailable),
        (501, b"{}", NotFound),
        (503, b"", Unavailable),
        (503, b'{"error": {"message": "Loading model"}}', Overloaded),
    ],
)
def test_refusals(status: int, body: bytes, kind: type[Exception]) -> None:
    error = refusal_of(status, body)
    assert type(error) is kind
    assert "secret" not in str(error)
    assert type(refusal_of(404, b"<html>", page=True)) is NotFound


@given(st.integers(400, 599), st.binary(max_size=50))
def test_every_refusal_is_an_error(status: int, body: bytes) -> None:
    assert isinstance(refusal_of(status, body), Exception)


def test_lists_of_models() -> None:
    body = {
        "data": [
            {"id": "a", "aliases": ["b"], "meta": {"n_ctx": 512}},
            {"id": "c", "max_model_len": 99, "meta": None},
            {"id": "bge-small", "context_length": -1},
        ]
    }
    assert [(one.name, one.context, one.embeddings) for one in model_list(body, 7)] == [
        ("a", 512, False),
        ("c", 99, False),
        ("bge-small", 7, True),
    ]
    assert names_in(body) == {"a", "b", "c", "bge-small"}
    for bad in ({}, {"data": 5}, {"data": [5]}, {"data": [{"id": ""}]}):
        with pytest.raises(Unavailable):
            model_list(bad, 7)


@pytest.mark.parametrize(
    ("name", "embeds"),
    [("text-embedding-3-small", True), ("nomic-embed-text:latest", True), ("intfloat/e5-large", True),
     ("BAAI/bge-m3", True), ("gpt-4o", False), ("smollm2-135m-instruct", False), ("e5x", False)],
)  # fmt: skip
def test_names_of_models_that_embed(name: str, *, embeds: bool) -> None:
    assert seems_to_embed(name) is embeds


def test_metrics() -> None:
    page = (
        "# HELP vllm:num_requests_running Number\n# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="a b"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="a"} 2.0 1700000000\n'
        "llamacpp:requests_processing 4\nllamacpp:requests_deferred NaN\nbroken{\nbroken x\n"
    )
    names = ("vllm:num_requests_running", "llamacpp:requests_processing", "llamacpp:requests_deferred", "broken")
    assert figures(page, *names) == {"vllm:num_requests_running": 5.0, "llamacpp:requests_processing": 4.0}


@given(st.text())
def test_any_page_of_metrics_can_be_read(page: str) -> None:
    figures(page, "a")


def test_facts_of_llama_cpp() -> None:
    props = {
        "total_slots": 3,
        "default_generation_settings": {"n_ctx": 2048},
        "chat_template": "<|im_start|>{{ x }}<role>",
        "bos_token": "<s>",
        "chat_template_caps": {"supports_tools": False},
    }
    facts = facts_from(frozenset({"m"}), props, embeds=True)
    assert (facts.slots, facts.context, facts.takes_tools, facts.embeds) == (3, 2048, False, 512)
    assert facts.tokens.broken("<s><role>") == "< s>< role>"
    unknown = facts_from(frozenset(), {"total_slots": "x", "chat_template_caps": None, "bos_token": 5})
    assert (unknown.slots, unknown.context, unknown.takes_tools, unknown.embeds) == (None, None, True, 0)


def test_probabilities_of_a_stream_are_joined() -> None:
    found = Logprobs()
    for index, token in ((0, "a"), (1, "x"), (0, "b")):
        choice = {"index": index, "delta": {}, "logprobs": {"content": [{"token": token}]}}
        assert "logprobs" not in found.taken({"choices": [choice]})["choices"][0]
    whole = found.given({"choices": [{"index": 0}, {"index": 1}]})
    assert whole["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}
    assert whole["choices"][1]["logprobs"] == {"content": [{"token": "x"}]}
    plain = {"choices": [{"index": 0}]}
    assert Logprobs().given(plain) == {"choices": [{"index": 0}]}
