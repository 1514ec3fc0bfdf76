"""The client that people's commands use, against the gateway's own HTTP interfaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from colony.config.endpoints import GatewayEndpoint
from colony.config.model import ModelConfig
from colony.errors import (
    BudgetSpent,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from colony.llm.gateway_client import GatewayClient, open_gateway
from colony.llm.http import open_gateway_model
from colony.llm.port import Caller, ChatMessage, ChatRequest
from ray_app.gateway.contracts import CachePolicy
from tests.eventually import assert_eventually
from tests.servers.chat import Reply, chat_server
from tests.servers.gateway_http import KEY, ScriptedGate, serving


def ask(**more: object) -> ChatRequest:
    return ChatRequest.model_validate({"messages": (ChatMessage(role="user", content="hello"),), **more})


def endpoint(url: str, folder: Path, key: str = KEY) -> GatewayEndpoint:
    file = folder / "gateway-key"
    file.write_text(key)
    return GatewayEndpoint(url=url, key_file=str(file))


@asynccontextmanager
async def client_of(gate: ScriptedGate, folder: Path, key: str = KEY) -> AsyncGenerator[GatewayClient]:
    async with serving(gate) as url, open_gateway(endpoint(url, folder, key)) as client:
        yield client


async def test_an_answer_comes_in_pieces_and_ends_with_its_counts(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with client_of(gate, tmp_path) as client:
        pieces = [piece async for piece in client.stream(ask(tier="standard", priority=1), "request-7")]
    assert "".join(piece.text for piece in pieces) == "one two three"
    assert (pieces[-1].prompt_tokens, pieces[-1].completion_tokens, pieces[-1].model) == (7, 3, "tiny")
    assert (gate.seen[0].tier, gate.seen[0].priority, gate.seen[0].request_id) == ("standard", 1, "request-7")


async def test_the_client_of_agents_is_understood_by_the_gateway(tmp_path: Path) -> None:
    gate = ScriptedGate()
    caller = Caller(agent="analysis-00007", agent_type="analysis", job="run-1", trace=f"00-{'a' * 32}-{'b' * 16}-01")
    async with (
        serving(gate) as url,
        open_gateway_model(endpoint(url, tmp_path), ModelConfig()) as model,
    ):
        answer = await model.chat(ask(tier="complex", caller=caller, cache="always", timeout=9.0, priority=5))
    assert (answer.text, answer.model, answer.prompt_tokens) == ("one two three", "tiny", 7)
    seen = gate.seen[0]
    assert (seen.caller.name, seen.caller.agent_type, seen.caller.job) == ("analysis-00007", "analysis", "run-1")
    assert (seen.caller.trace, seen.tier, seen.model) == (caller.trace, "complex", "")
    assert (seen.cache, seen.priority) == (CachePolicy.ALWAYS, 5)
    assert 0 < seen.seconds <= 9.0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Overloaded("full", retry_after=9), Overloaded),
        (PromptTooLong("long"), PromptTooLong),
        (ModelRefused("no"), ModelRefused),
        (NotFound("model"), ModelRefused),
        (BudgetSpent("spent"), BudgetSpent),
        (DeadlineExceeded("late"), DeadlineExceeded),
        (TruncatedAnswer("cut"), TruncatedAnswer),
        (Unavailable("all breakers are open"), Overloaded),
        (RuntimeError("a fault"), Unavailable),
    ],
)
async def test_refusals_keep_their_meaning_on_both_clients(
    error: Exception, expected: type[ColonyError], tmp_path: Path
) -> None:
    async with serving(ScriptedGate(error=error)) as url:
        where = endpoint(url, tmp_path)
        async with open_gateway(where) as client, open_gateway_model(where, ModelConfig()) as model:
            with pytest.raises(ColonyError) as streamed:
                async for _ in client.stream(ask()):
                    pass
            with pytest.raises(ColonyError) as whole:
                await model.chat(ask())
    assert type(streamed.value) is type(whole.value) is expected
    if isinstance(error, Overloaded):
        assert isinstance(whole.value, Overloaded)
        assert whole.value.retry_after == 9.0


async def test_an_error_in_mid_answer_is_raised_after_what_came(tmp_path: Path) -> None:
    got: list[str] = []
    async with client_of(ScriptedGate(breaks=Unavailable("the server died")), tmp_path) as client:

        async def listen() -> None:
            async for piece in client.stream(ask()):
                got.append(piece.text)  # noqa: PERF401 -- what came before the error counts

        with pytest.raises(Unavailable, match="died"):
            await listen()
    assert "".join(got) == "one two three"


async def test_hanging_up_frees_the_slot(tmp_path: Path) -> None:
    gate = ScriptedGate(delay=0.05, words=["word "] * 1000)
    async with client_of(gate, tmp_path) as client:

        async def listen() -> None:
            async for _ in client.stream(ask()):
                pass

        listening = asyncio.create_task(listen())
        await assert_eventually(lambda: gate.under_way)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await assert_eventually(lambda: gate.freed)
    assert gate.under_way == 0


async def test_state_and_why(tmp_path: Path) -> None:
    async with client_of(ScriptedGate(), tmp_path) as client:
        assert (await client.state())["waiting"] == 0
        assert (await client.why("waiting"))["waits_for"] == "a slot"
        with pytest.raises(NotFound, match="waiting"):
            await client.why("../../else ?")


async def test_a_replica_is_drained_and_given_calls_again(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with client_of(gate, tmp_path) as client:
        await client.drain("twin/0", on=True)
        assert gate.drained
        await client.drain("twin/0", on=False)
        assert not gate.drained
        for unknown in ("twin/9", "../state", "?", "x y/0"):
            with pytest.raises(NotFound):
                await client.drain(unknown, on=True)


async def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    async with client_of(ScriptedGate(), tmp_path, key="another") as client:
        with pytest.raises(NotPermitted):
            await client.state()
        with pytest.raises(NotPermitted):
            await anext(client.stream(ask()))


@pytest.mark.parametrize(
    "body",
    [b"", b"data: {\n\n", b"data: [1]\n\n", b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', b"<html>"],
)
async def test_a_stream_that_is_none_or_breaks_off(body: bytes, tmp_path: Path) -> None:
    async with (
        chat_server(lambda _: Reply(body=body, kind="text/event-stream")) as server,
        open_gateway(endpoint(server.url, tmp_path)) as client,
    ):
        with pytest.raises(Unavailable):
            async for _ in client.stream(ask()):
                pass


async def test_nobody_there(tmp_path: Path) -> None:
    async with open_gateway(endpoint("http://127.0.0.1:9", tmp_path)) as client:
        with pytest.raises(Unavailable):
            await client.state()
