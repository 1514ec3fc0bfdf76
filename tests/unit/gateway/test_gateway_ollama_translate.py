"""OpenAI's shape to Ollama's and back."""

from __future__ import annotations

import pytest

from colony.errors import ModelRefused, NotFound, Overloaded, PromptTooLong, Unavailable
from ray_app.gateway.api.ollama_requests import OPTIONS as OLLAMA_OPTIONS
from ray_app.gateway.api.openai_requests import CHAT_FIELDS, COMPLETION_FIELDS
from ray_app.gateway.backends.ollama_models import Facts, facts_of, full_name
from ray_app.gateway.backends.ollama_parameters import ONLY, OPTIONS, UNKNOWN
from ray_app.gateway.backends.ollama_translate import (
    Pieces,
    chat_request,
    choices_wanted,
    completion_requests,
    embed_request,
    embeddings_answer,
    options,
    wanted_tokens,
)
from ray_app.gateway.backends.ollama_wire import PullShare, refusal, trouble
from ray_app.gateway.contracts import Body, Kind

HELLO: list[Body] = [{"role": "user", "content": "Hello."}]
TOOL: Body = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def test_messages_with_tools_and_images() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 3}'}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body: Body = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "See"}, picture]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "a river"},
        ],
        "tools": [TOOL],
        "tool_choice": "auto",
    }
    assert chat_request("m", body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "See", "images": ["AAAA"]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "look", "arguments": {"at": 3}}}],
            },
            {"role": "tool", "content": "a river", "tool_name": "look"},
        ],
        "tools": [TOOL],
    }
    assert "tools" not in chat_request("m", {**body, "tool_choice": "none"})


def test_options_by_their_names() -> None:
    body: Body = {"temperature": 0, "top_p": 0.5, "seed": 7, "stop": "END", "user": "me", "presence_penalty": None}
    assert options(body) == {"temperature": 0, "top_p": 0.5, "seed": 7, "stop": ["END"]}
    assert options({"stop": ["a", "b"]}) == {"stop": ["a", "b"]}
    assert options({"seed": 7}, 2) == {"seed": 9}
    native = {"typical_p": 0.9, "repeat_last_n": -1, "repeat_penalty": 1.1, "min_p": 0.1, "top_k": 5}
    assert options(native) == native
    assert wanted_tokens({"max_tokens": 5}) == 5
    assert wanted_tokens({"max_tokens": 5, "max_completion_tokens": 4}) == 4
    assert wanted_tokens({}) is None


def test_formats() -> None:
    schema = {"type": "object"}
    assert "format" not in chat_request("m", {"messages": HELLO, "response_format": {"type": "text"}})
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert chat_request("m", {"messages": HELLO, "response_format": wanted})["format"] == schema
    assert chat_request("m", {"messages": HELLO, "response_format": {"type": "json_object"}})["format"] == "json"


IMPOSSIBLE: list[Body] = [
    {"logprobs": True},
    {"logit_bias": {"1": 5}},
    {"tools": [TOOL], "tool_choice": "required"},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
    {"response_format": {"type": "json_schema", "json_schema": {}}},
    {"response_format": {"type": "regex"}},
    {"repetition_penalty": 1.1},
    {"min_tokens": 3},
    {"ignore_eos": True},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"mirostat": 2},
    {"mirostat_tau": 5.0},
    {"mirostat_eta": 0.1},
    {"tools": [TOOL], "parallel_tool_calls": False},
    {"verbosity": "low"},
    {"reasoning_effort": "immense"},
    {"messages": []},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "3"}}]}]},
]


@pytest.mark.parametrize("given", IMPOSSIBLE, ids=str)
def test_what_ollama_cannot_do_is_refused(given: Body) -> None:
    with pytest.raises(ModelRefused):
        chat_request("m", {"messages": HELLO, **given})


NOTHING_ASKED: list[Body] = [
    {"repetition_penalty": 1.0},
    {"min_tokens": 0},
    {"ignore_eos": False},
    {"chat_template_kwargs": {}},
    {"mirostat": 0},
    {"parallel_tool_calls": True},
    {"parallel_tool_calls": False},
    {"verbosity": "medium"},
    {"reasoning_effort": None},
    {"modalities": ["text"]},
]


@pytest.mark.parametrize("given", NOTHING_ASKED, ids=str)
def test_what_asks_for_nothing_is_left_out(given: Body) -> None:
    assert chat_request("m", {"messages": HELLO, **given}) == {"model": "m", "messages": HELLO}
    assert completion_requests("m", {"prompt": "a", **given}) == [{"model": "m", "prompt": "a", "raw": True}]
    assert not options(given)


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high")]
)
def test_effort_is_thinking(effort: str, think: str | bool) -> None:
    assert chat_request("m", {"messages": HELLO, "reasoning_effort": effort})["think"] == think
    given: Body = {"prompt": "a", "reasoning_effort": effort}
    if think:
        with pytest.raises(ModelRefused, match="chats only"):
            completion_requests("m", given)
    else:
        assert "think" not in completion_requests("m", given)[0]


OPTIONS_ONLY = {*OPTIONS, "stop", "max_tokens", "max_completion_tokens", "n", "best_of"}
SEEN = {"messages", "prompt", "suffix", "tools", "tool_choice", "response_format", "reasoning_effort", "modalities"}


@pytest.mark.parametrize("name", sorted({*CHAT_FIELDS, *COMPLETION_FIELDS, *OLLAMA_OPTIONS} - {"num_predict"}))
def test_every_field_the_gateway_takes_is_passed_on_or_refused(name: str) -> None:
    assert name in OPTIONS_ONLY | SEEN | {*UNKNOWN, *ONLY}


def test_completions_and_inputs() -> None:
    assert completion_requests("m", {"prompt": ["a", "b"]}) == [
        {"model": "m", "prompt": "a", "raw": True},
        {"model": "m", "prompt": "b", "raw": True},
    ]
    assert completion_requests("m", {"prompt": "a", "suffix": "z"}) == [{"model": "m", "prompt": "a", "suffix": "z"}]
    assert embed_request("m", {"input": "a"}) == {"model": "m", "input": ["a"]}
    for prompt in ("", [], ["a", ""], [1, 2], [[1]], None, 5):
        with pytest.raises(ModelRefused):
            completion_requests("m", {"prompt": prompt})
        with pytest.raises(ModelRefused):
            embed_request("m", {"input": prompt})
    with pytest.raises(ModelRefused):
        completion_requests("m", {"prompt": "a", "best_of": 3})
    with pytest.raises(ModelRefused):
        wanted_tokens({"max_tokens": 0})
    assert [choices_wanted(body) for body in ({}, {"n": None}, {"n": 2})] == [1, 1, 2]
    for wrong in (0, -1, 17, "2", 1.5):
        with pytest.raises(ModelRefused):
            choices_wanted({"n": wrong})


def test_pieces_of_a_chat() -> None:
    pieces = Pieces(Kind.CHAT, "m")
    thought = pieces.piece({"message": {"role": "assistant", "content": "", "thinking": "hm"}})
    said = pieces.piece({"message": {"content": "yes"}})
    assert thought is not None
    assert said is not None
    assert thought["choices"][0]["delta"] == {"role": "assistant", "content": "", "reasoning_content": "hm"}
    assert said["choices"][0]["delta"] == {"content": "yes"}
    assert pieces.piece({"message": {"content": ""}, "done": True}) is None
    assert pieces.last("length")["choices"][0]["finish_reason"] == "length"
    assert pieces.last("")["choices"][0]["finish_reason"] == "stop"
    assert pieces.counters(3, 4)["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_tool_calls_get_ids_and_text_arguments() -> None:
    pieces = Pieces(Kind.CHAT, "m")
    calls = [{"function": {"name": "look", "arguments": {"at": 3}}}, {"function": {"name": "go", "arguments": None}}]
    piece = pieces.piece({"message": {"content": "", "tool_calls": calls}})
    assert piece is not None
    first, second = piece["choices"][0]["delta"]["tool_calls"]
    assert (first["index"], first["function"]) == (0, {"name": "look", "arguments": '{"at":3}'})
    assert (second["index"], second["function"]) == (1, {"name": "go", "arguments": "{}"})
    assert first["id"] != second["id"]
    assert pieces.last("stop")["choices"][0]["finish_reason"] == "tool_calls"


def test_several_completions_share_their_id() -> None:
    first = Pieces(Kind.COMPLETION, "m")
    second = Pieces(Kind.COMPLETION, "m", 1, first)
    piece = second.piece({"response": "x"})
    assert piece is not None
    assert (piece["id"], piece["choices"][0]["index"], piece["choices"][0]["text"]) == (first.id, 1, "x")


def test_an_empty_answer_to_embeddings_is_harmless() -> None:
    assert embeddings_answer("m", {}, {})["data"] == []


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b'{"error": "model \\"x\\" not found, try pulling it first"}', NotFound),
        (404, b"404 page not found", Unavailable),
        (400, b'{"error": "does not support tools"}', ModelRefused),
        (400, b'{"error": "the input length exceeds the context length"}', PromptTooLong),
        (500, b'{"error": "option \\"seed\\" must be of type integer"}', ModelRefused),
        (500, b'{"error": "model runner has unexpectedly stopped"}', Unavailable),
        (500, b"<html>oops</html>", Unavailable),
        (502, b"", Unavailable),
        (503, b'{"error": "server busy, please try again. maximum pending requests exceeded"}', Overloaded),
    ],
)
def test_refusals(status: int, body: bytes, error: type[Exception]) -> None:
    assert type(refusal(status, body)) is error


def test_troubles_in_a_stream() -> None:
    assert type(trouble("invalid JSON schema in format")) is ModelRefused
    assert type(trouble("pull model manifest: file does not exist")) is NotFound
    assert type(trouble("an error was encountered while running the model")) is Unavailable
    busy = refusal(503, b"", "7")
    assert isinstance(busy, Overloaded)
    assert busy.retry_after == 7


def test_the_share_of_a_pull_counts_bytes() -> None:
    share = PullShare()
    assert share.add({"status": "pulling manifest"}) == 0
    assert share.add({"status": "pulling a", "digest": "a", "total": 100}) == 0
    assert share.add({"status": "pulling a", "digest": "a", "total": 100, "completed": 50}) == 0.5
    assert share.add({"status": "pulling b", "digest": "b", "total": 300, "completed": 0}) == 0.125
    assert share.add({"status": "success"}) == 1


def test_facts_of_a_model() -> None:
    info = {"general.architecture": "bert", "bert.context_length": 512, "bert.pooling_type": 1}
    assert facts_of({"model_info": info}, 2048, "d") == Facts(512, embeddings=True, digest="d")
    assert facts_of({"model_info": info, "capabilities": ["completion"]}, 256) == Facts(256, embeddings=False)
    assert facts_of({}, 2048) == Facts(2048, embeddings=False)
    assert full_name("smollm2") == "smollm2:latest"
    assert full_name("host:5000/library/smollm2") == "host:5000/library/smollm2:latest"
    assert full_name("smollm2:135m") == "smollm2:135m"
