from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from colony.config.endpoints import ModelEndpoint
from colony.config.model import ModelConfig
from colony.errors import (
    ColonyError,
    ConfigInvalid,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    TruncatedAnswer,
    Unavailable,
)
from colony.llm.http import MAX_BYTES, open_model
from colony.llm.port import ChatMessage, ChatRequest
from tests.servers.chat import Reply, Request, chat_server, honest, reply


def ask(text: str = "hello there", **more: Any) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), **more)


def completion(**changed: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "fine"}
    whole = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 2}}
    return whole | changed


async def outcome(answer: Reply, request: ChatRequest | None = None) -> ColonyError:
    async with (
        chat_server(lambda _: answer) as server,
        open_model(ModelEndpoint(url=server.url), ModelConfig()) as model,
    ):
        with pytest.raises(ColonyError) as caught:
            await model.chat(request or ask(model="m"))
        assert len(server.seen) == 1, "nothing is tried twice"
    return caught.value


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ModelRefused),
        (404, ModelRefused),
        (413, ModelRefused),
        (422, ModelRefused),
        (401, NotPermitted),
        (403, NotPermitted),
        (429, Overloaded),
        (503, Unavailable),
        (408, DeadlineExceeded),
        (504, DeadlineExceeded),
        (500, Unavailable),
        (502, Unavailable),
        (302, Unavailable),
        (204, Unavailable),
    ],
)
async def test_status_becomes_error(status: int, expected: type[ColonyError]) -> None:
    assert type(await outcome(reply({"error": {"message": "because"}}, status))) is expected


@pytest.mark.parametrize(
    "answer",
    [
        Reply(body=b""),
        Reply(body=b"<html>gateway</html>", kind="text/html"),
        Reply(body=b"null"),
        Reply(body=b'{"choices": ['),
        reply({"choices": []}),
        reply(completion(choices=[{"message": {"content": 7}}])),
        reply(completion(choices="none")),
        Reply(raw=b""),
        Reply(raw=b"not http at all\r\n\r\n"),
        Reply(body=b'{"choices": []}', claimed_length=9_000),
        Reply(body=b"not gzip", headers=(("Content-Encoding", "gzip"),)),
        Reply(body=gzip.compress(b" " * (MAX_BYTES + 1)), headers=(("Content-Encoding", "gzip"),)),
    ],
)
async def test_an_answer_that_is_none_means_unavailable(answer: Reply) -> None:
    assert type(await outcome(answer)) is Unavailable


async def test_what_the_server_says_is_passed_on_in_short() -> None:
    error = await outcome(reply({"error": {"message": "no such\nmodel " + "x" * 900}}, 404))
    assert "no such model" in str(error)
    assert len(str(error)) < 300


async def test_the_key_is_sent_and_never_shown(tmp_path: Path) -> None:
    key = "sk-very-secret"
    (tmp_path / "key").write_text(key + "\n")

    def answer(request: Request) -> Reply:
        return reply({"error": {"message": f"Incorrect API key provided: {request.headers['authorization']}"}}, 401)

    async with chat_server(answer) as server:
        endpoint = ModelEndpoint(url=server.url, key_file=str(tmp_path / "key"))
        async with open_model(endpoint, ModelConfig()) as model:
            with pytest.raises(NotPermitted) as caught:
                await model.chat(ask(model="m"))
    assert server.seen[0].headers["authorization"] == f"Bearer {key}"
    assert key not in repr(caught.value)
    assert key not in str(caught.value)


async def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nokey"):
        async with open_model(ModelEndpoint(url="http://127.0.0.1:1", key_file=str(tmp_path / "nokey")), ModelConfig()):
            pass


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://[::1"])
async def test_a_bad_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        async with open_model(ModelEndpoint(url=url), ModelConfig()):
            pass


async def test_nobody_listens() -> None:
    async with chat_server() as server:
        url = server.url
    async with open_model(ModelEndpoint(url=url), ModelConfig()) as model:
        with pytest.raises(Unavailable):
            await model.chat(ask(model="m"))


async def test_the_shorter_of_both_time_limits_holds() -> None:
    async with chat_server(lambda _: Reply(delay=30)) as server:
        async with open_model(ModelEndpoint(url=server.url), ModelConfig(timeout=0.05)) as model:
            with pytest.raises(DeadlineExceeded):
                await model.chat(ask(model="m"))
            with pytest.raises(DeadlineExceeded):
                await model.models()
        async with open_model(ModelEndpoint(url=server.url), ModelConfig()) as model:
            with pytest.raises(DeadlineExceeded):
                await model.chat(ask(timeout=0.05))


async def test_model_by_request_then_tier_then_the_first_served() -> None:
    config = ModelConfig(names={"complex": "large"})
    async with chat_server() as server, open_model(ModelEndpoint(url=server.url + "/v1/"), config) as model:
        assert (await model.chat(ask(model="mine", tier="complex"))).model == "mine"
        assert (await model.chat(ask(tier="complex"))).model == "large"
        answers = await asyncio.gather(*(model.chat(ask()) for _ in range(20)))
        assert {answer.model for answer in answers} == {"tiny"}
        assert [request.path for request in server.seen].count("/v1/models") == 1


async def test_a_model_that_went_away_is_looked_up_again() -> None:
    served = ["old"]

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return reply({"data": [{"id": served[0]}]})
        known = json.loads(request.body)["model"] == served[0]
        return honest()(request) if known else reply({"error": "model not found"}, 404)

    async with chat_server(answer) as server, open_model(ModelEndpoint(url=server.url), ModelConfig()) as model:
        assert (await model.chat(ask())).model == "old"
        served[0] = "new"
        with pytest.raises(ModelRefused, match="model not found"):
            await model.chat(ask())
        assert (await model.chat(ask())).model == "new"


async def test_a_server_without_models_is_told_apart() -> None:
    async with (
        chat_server(lambda _: reply({"data": []})) as server,
        open_model(ModelEndpoint(url=server.url), ModelConfig()) as model,
    ):
        with pytest.raises(ModelRefused, match="serves no model"):
            await model.chat(ask())


async def test_what_is_asked_is_what_is_sent() -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}
    request = ask(model="m", max_tokens=7, temperature=0.5, seed=3, stop=("END",), json_schema=schema)
    async with chat_server() as server, open_model(ModelEndpoint(url=server.url), ModelConfig()) as model:
        await model.chat(request)
    sent = server.chats()[0]
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert sent["messages"] == [{"role": "user", "content": "hello there"}]
    assert {key: sent[key] for key in ("model", "max_tokens", "temperature", "seed", "stop", "stream")} == {
        "model": "m",
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["END"],
        "stream": False,
    }


async def test_a_prompt_cut_in_silence_is_a_failure() -> None:
    cut = reply(completion(usage={"prompt_tokens": 2048, "completion_tokens": 1}))
    assert type(await outcome(cut, ask("word " * 4000, model="m"))) is TruncatedAnswer


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0}, {"prompt_tokens": 4000, "completion_tokens": 1}])
async def test_counters_that_prove_nothing_are_believed(usage: dict[str, int] | None) -> None:
    async with (
        chat_server(lambda _: reply(completion(usage=usage))) as server,
        open_model(ModelEndpoint(url=server.url), ModelConfig()) as model,
    ):
        assert (await model.chat(ask("word " * 4000, model="m"))).text == "fine"


async def test_an_answer_without_text_is_empty() -> None:
    empty = completion(choices=[{"message": {"role": "assistant", "content": None}, "finish_reason": "tool_calls"}])
    async with (
        chat_server(lambda _: reply(empty)) as server,
        open_model(ModelEndpoint(url=server.url), ModelConfig()) as model,
    ):
        answer = await model.chat(ask(model="m"))
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")


async def test_connections_are_pooled() -> None:
    async with chat_server() as server, open_model(ModelEndpoint(url=server.url), ModelConfig()) as model:
        for _ in range(10):
            await model.chat(ask(model="m"))
        assert server.connections == 1
