"""What every language model promises: the twin, the HTTP client, and the embedded model behind it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from colony.clock import SystemClock
from colony.config.endpoints import ModelEndpoint
from colony.config.model import ModelConfig
from colony.errors import DeadlineExceeded, ModelRefused, NotPermitted, Unavailable, WrongAnswer
from colony.llm.http import open_gateway_model, open_model
from colony.llm.port import Caller, ChatMessage, ChatRequest, LanguageModel
from colony.llm.scripted import ScriptedModel
from colony.llm.structured import chat_structured
from ray_app.gateway.backends.scripted import Script
from tests.servers.chat import chat_server, honest
from tests.servers.gateway import real_gateway
from tests.servers.model import embedded_model

pytestmark = pytest.mark.contract

LONG = "one two three four five six seven eight nine ten"
CONTEXT = 512


def ask(text: str, *, max_tokens: int = 8, timeout: float = 60.0, stop: tuple[str, ...] = ()) -> ChatRequest:
    message = ChatMessage(role="user", content=text)
    return ChatRequest(messages=(message,), max_tokens=max_tokens, timeout=timeout, stop=stop)


@asynccontextmanager
async def twin(_: Path) -> AsyncGenerator[LanguageModel]:
    yield ScriptedModel(LONG, context=CONTEXT, delay=0.001)


@asynccontextmanager
async def over_http(_: Path) -> AsyncGenerator[LanguageModel]:
    async with (
        chat_server(honest(CONTEXT, LONG)) as server,
        open_model(ModelEndpoint(url=server.url), ModelConfig()) as model,
    ):
        yield model


@asynccontextmanager
async def embedded(folder: Path) -> AsyncGenerator[LanguageModel]:
    async with (
        embedded_model(folder, slots=2, context=CONTEXT) as endpoint,
        open_model(endpoint, ModelConfig()) as model,
    ):
        yield model


@asynccontextmanager
async def through_the_gateway(folder: Path) -> AsyncGenerator[LanguageModel]:
    async with (
        real_gateway(folder, Script(answer=LONG, first=0.001), context=CONTEXT) as (endpoint, _),
        open_gateway_model(endpoint, ModelConfig()) as model,
    ):
        yield model


@pytest.fixture(
    params=[twin, over_http, through_the_gateway, pytest.param(embedded, marks=pytest.mark.slow)],
    ids=["twin", "http", "gateway", "embedded"],
)
async def model(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[LanguageModel]:
    async with request.param(tmp_path) as opened:
        yield opened


async def test_models_are_named(model: LanguageModel) -> None:
    names = await model.models()
    assert names
    assert all(names)


async def test_an_answer_counts_its_tokens(model: LanguageModel) -> None:
    answer = await model.chat(ask("Count to ten in words.", max_tokens=24))
    assert answer.text
    assert answer.model in await model.models()
    assert answer.prompt_tokens >= 5
    assert 1 <= answer.completion_tokens <= 24
    assert answer.finish_reason in ("stop", "length")


async def test_a_limit_of_tokens_is_obeyed_and_said(model: LanguageModel) -> None:
    answer = await model.chat(ask("Write a very long story about a river.", max_tokens=3))
    assert answer.completion_tokens == 3
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("words", [CONTEXT + 10, 10 * CONTEXT])
async def test_a_prompt_too_long_is_refused(model: LanguageModel, words: int) -> None:
    with pytest.raises(ModelRefused):
        await model.chat(ask("word " * words))
    assert (await model.chat(ask("Still there?"))).text


async def test_an_answer_in_a_shape_is_one_or_says_that_it_is_none(model: LanguageModel) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = ask("Give a number as JSON.", max_tokens=24).model_copy(update={"json_schema": schema})
    given: object = None
    try:
        given = (await chat_structured(model, request, SystemClock())).data
    except WrongAnswer as error:
        given = {"n": len(error.text)}
    assert isinstance(given, dict)
    assert isinstance(given["n"], int)


async def test_who_asks_and_how_urgent_it_is_changes_no_answer(model: LanguageModel) -> None:
    caller = Caller(agent="analysis-00001", agent_type="analysis", job="run-1")
    update = {"caller": caller, "priority": 5, "cache": "never", "tier": "complex"}
    assert (await model.chat(ask("Count to ten in words.").model_copy(update=update))).text


async def test_no_answer_in_time(model: LanguageModel) -> None:
    with pytest.raises(DeadlineExceeded):
        await model.chat(ask("Write a very long story about a river.", max_tokens=400, timeout=0.0001))
    assert (await model.chat(ask("Still there?"))).text


async def test_a_cancelled_call_leaves_the_model_usable(model: LanguageModel) -> None:
    calls = [asyncio.create_task(model.chat(ask(f"Tell story {number}.", max_tokens=200))) for number in range(4)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    assert (await model.chat(ask("Still there?"))).text


async def test_many_at_once(model: LanguageModel) -> None:
    answers = await asyncio.gather(*(model.chat(ask(f"Say the number {number}.", timeout=110)) for number in range(12)))
    assert all(answer.completion_tokens >= 1 for answer in answers)


@pytest.mark.slow
async def test_the_embedded_model_wants_its_key_and_obeys_a_schema(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("a-key-of-this-test")
    async with embedded_model(tmp_path, slots=1, context=CONTEXT, key_file=key_file) as endpoint:
        async with open_model(endpoint.model_copy(update={"key_file": ""}), ModelConfig()) as stranger:
            with pytest.raises(NotPermitted):
                await stranger.models()
        async with open_model(endpoint, ModelConfig()) as model:
            assert await model.models() == ["smollm2-135m-instruct"]
            schema = {
                "type": "object",
                "properties": {"label": {"enum": ["positive", "negative"]}},
                "required": ["label"],
                "additionalProperties": False,
            }
            request = ask("Is this review good? Great phone, I love it.", max_tokens=40)
            answer = await model.chat(request.model_copy(update={"json_schema": schema}))
            assert answer.text.replace(" ", "").replace("\n", "") in ('{"label":"positive"}', '{"label":"negative"}')
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            for page in ("/", "/slots", "/metrics"):
                assert (await client.get(page)).status_code != 200


@pytest.mark.slow
async def test_the_embedded_model_ends_on_sigterm_while_it_works(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with embedded_model(tmp_path, slots=1, context=CONTEXT) as endpoint:
            model = await stack.enter_async_context(open_model(endpoint, ModelConfig()))
            await model.models()
            work = asyncio.create_task(model.chat(ask("Write a very long story about a river.", max_tokens=450)))
            await asyncio.wait({work}, timeout=0.3)
            assert not work.done()
        with pytest.raises(Unavailable):
            await work


async def test_the_process_says_what_is_missing(tmp_path: Path) -> None:
    environment = {**os.environ, "COLONY_HOME": str(tmp_path), "COLONY_MODEL_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "control.processes.model", env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert b"COLONY_MODEL_PORT is not a number from 1 to 65535" in output
