"""The client of the gateway: what it sends, and what it makes of refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from colony.config.endpoints import GatewayEndpoint
from colony.config.model import ModelConfig
from colony.errors import BudgetSpent, ColonyError, ModelRefused, Overloaded, PromptTooLong, TruncatedAnswer
from colony.llm.http import open_gateway_model
from colony.llm.openai_format import error_of, seconds_of
from colony.llm.port import Caller, ChatAnswer, ChatMessage, ChatRequest
from tests.servers.chat import Reply, Request, chat_server, honest, reply


def ask(**more: Any) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content="hello"),), **more)


async def sent(tmp_path: Path, request: ChatRequest, **config: Any) -> tuple[Request, dict[str, Any], ChatAnswer]:
    key = tmp_path / "gateway-key"
    key.write_text("secret-of-this-test")
    async with chat_server(honest()) as server:
        endpoint = GatewayEndpoint(url=server.url, key_file=str(key))
        async with open_gateway_model(endpoint, ModelConfig(**config)) as model:
            answer = await model.chat(request)
        assert len(server.seen) == 1, "no list of models is asked for"
        return server.seen[0], server.chats()[0], answer


async def test_a_call_says_who_makes_it_and_leaves_the_tier_to_the_gateway(tmp_path: Path) -> None:
    caller = Caller(agent="analysis-00007", agent_type="analysis", job="run-1", trace="00-aa-bb-01")
    names = {"standard": "must not be used"}
    request, body, _ = await sent(tmp_path, ask(tier="standard", timeout=9.0, priority=5, caller=caller), names=names)
    assert body["model"] == ""
    assert request.headers["authorization"] == "Bearer secret-of-this-test"
    wanted = {
        "x-colony-agent": "analysis-00007",
        "x-colony-agent-type": "analysis",
        "x-colony-job": "run-1",
        "x-colony-tier": "standard",
        "x-colony-priority": "5",
        "x-colony-cache": "auto",
        "traceparent": "00-aa-bb-01",
    }
    assert wanted.items() <= request.headers.items()
    assert 0 < float(request.headers["x-colony-deadline"]) <= 9.0


async def test_a_model_by_name_needs_no_tier_and_what_is_unknown_is_not_sent(tmp_path: Path) -> None:
    request, body, answer = await sent(tmp_path, ask(model="tiny"))
    assert (body["model"], answer.model) == ("tiny", "tiny")
    assert not {"x-colony-tier", "x-colony-agent", "x-colony-job", "traceparent"} & set(request.headers)


async def test_an_answer_says_where_it_came_from_if_the_server_does(tmp_path: Path) -> None:
    key = tmp_path / "gateway-key"
    key.write_text("k")
    plain = honest()

    def answered(request: Request) -> Reply:
        said = (("X-Colony-Backend", "small"), ("X-Colony-Cache", "miss"))
        return dataclasses.replace(plain(request), headers=said)

    found: list[ChatAnswer] = []
    for answer in (answered, plain):
        async with chat_server(answer) as server:
            endpoint = GatewayEndpoint(url=server.url, key_file=str(key))
            async with open_gateway_model(endpoint, ModelConfig()) as model:
                found.append(await model.chat(ask()))
    assert [(answer.backend, answer.cache) for answer in found] == [("small", "miss"), ("", "")]


async def test_retry_after_comes_with_the_refusal(tmp_path: Path) -> None:
    key = tmp_path / "gateway-key"
    key.write_text("k")
    full = Reply(status=429, body=b'{"error": {"message": "too many"}}', headers=(("Retry-After", "7"),))
    async with chat_server(lambda _: full) as server:
        endpoint = GatewayEndpoint(url=server.url, key_file=str(key))
        async with open_gateway_model(endpoint, ModelConfig()) as model:
            with pytest.raises(Overloaded, match="too many") as caught:
                await model.chat(ask())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("", None), ("soon", None), ("-1", None), ("nan", None), ("inf", 3600.0), ("0", 0.0)],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "m", "code": "context_length_exceeded"}, PromptTooLong),
        (400, {"message": "m", "type": "exceed_context_size_error", "code": 400}, PromptTooLong),
        (400, {"message": "m", "type": "PromptTooLong"}, PromptTooLong),
        (400, {"message": "m", "type": "invalid_request_error", "code": None}, ModelRefused),
        (429, {"message": "m", "code": "BudgetSpent"}, BudgetSpent),
        (429, {"message": "m", "type": "insufficient_quota"}, BudgetSpent),
        (429, {"message": "m", "type": "rate_limit_error"}, Overloaded),
        (502, {"message": "m", "code": "TruncatedAnswer"}, TruncatedAnswer),
    ],
)
def test_refusals_have_names(status: int, error: dict[str, Any], kind: type[ColonyError]) -> None:
    assert type(error_of(status, reply({"error": error}).body)) is kind
