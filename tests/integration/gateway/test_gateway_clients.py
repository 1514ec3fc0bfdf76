"""The clients people have: OpenAI's, Ollama's and LiteLLM, unchanged but for the URL."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import ollama
import openai
import pytest

from colony.errors import BudgetSpent, DeadlineExceeded, ModelRefused, NotFound, Overloaded, PromptTooLong, Unavailable
from tests.eventually import assert_eventually
from tests.servers.gateway_http import KEY, ScriptedGate, serving

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read at import: prices come from the package, not the network

import litellm

litellm.telemetry = False
litellm.suppress_debug_info = True

HELLO: Any = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "c1", "type": "function", "index": 0, "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


@pytest.fixture
def gate() -> ScriptedGate:
    return ScriptedGate()


@pytest.fixture
async def url(gate: ScriptedGate) -> AsyncGenerator[str]:
    async with serving(gate) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


@pytest.fixture
async def native(url: str) -> AsyncGenerator[ollama.AsyncClient]:
    found = ollama.AsyncClient(url, headers={"Authorization": f"Bearer {KEY}"})
    yield found
    await found.close()


async def test_openai_chats(client: openai.AsyncOpenAI, gate: ScriptedGate) -> None:
    answer = await client.chat.completions.create(
        model="tiny", messages=HELLO, temperature=0, seed=1, stop=["\n"], max_tokens=5, user="somebody"
    )
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one two three", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 10
    assert gate.seen[0].caller.name == "somebody"
    assert gate.seen[0].body == {"messages": HELLO, "temperature": 0, "seed": 1, "stop": ["\n"], "max_tokens": 5}


async def test_openai_streams(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage is not None] == [10]
    assert chunks[-1].usage is not None
    plain = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in plain])


async def test_openai_calls_tools(client: openai.AsyncOpenAI, gate: ScriptedGate) -> None:
    gate.message = {"tool_calls": [CALL]}
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, tools=[WEATHER], tool_choice="auto")
    assert answer.choices[0].message.tool_calls is not None
    assert answer.choices[0].message.tool_calls[0].id == "c1"
    assert gate.seen[0].body["tools"] == [WEATHER]


async def test_openai_parses_into_a_schema(client: openai.AsyncOpenAI, gate: ScriptedGate) -> None:
    gate.words = ['{"city": ', '"Oslo"}']
    schema: Any = {"name": "city", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    wanted: Any = {"type": "json_schema", "json_schema": schema}
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, response_format=wanted)
    assert answer.choices[0].message.content == '{"city": "Oslo"}'
    assert gate.seen[0].body["response_format"] == wanted


async def test_openai_completes_lists_of_prompts(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="tiny", prompt=["a", "b"])
    assert [choice.text for choice in answer.choices] == ["one two three"] * 2
    stream = await client.completions.create(model="tiny", prompt="a", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "one two three"


async def test_openai_embeds_packed_and_plain(client: openai.AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model="vectors", input=["a", "b"])
    plain = await client.embeddings.create(model="vectors", input=["a", "b"], encoding_format="float")
    assert [entry.embedding for entry in packed.data] == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]]
    assert [entry.embedding for entry in plain.data] == [entry.embedding for entry in packed.data]


async def test_openai_lists_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["tiny", "fast", "vectors"]
    assert (await client.models.retrieve("tiny")).id == "tiny"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")


@pytest.mark.parametrize(
    ("error", "wanted", "code"),
    [
        (ModelRefused("no"), openai.BadRequestError, "model_refused"),
        (PromptTooLong("no"), openai.BadRequestError, "context_length_exceeded"),
        (NotFound("no"), openai.NotFoundError, "model_not_found"),
        (Overloaded("no", retry_after=1), openai.RateLimitError, "rate_limit_exceeded"),
        (BudgetSpent("no"), openai.RateLimitError, "budget_spent"),
        (Unavailable("no"), openai.InternalServerError, "unavailable"),
        (DeadlineExceeded("no"), openai.InternalServerError, "deadline_exceeded"),
    ],
)
async def test_openai_knows_our_errors(
    client: openai.AsyncOpenAI, gate: ScriptedGate, error: Exception, wanted: type[openai.APIStatusError], code: str
) -> None:
    gate.error = error
    with pytest.raises(wanted) as caught:
        await client.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.code == code
    assert caught.value.request_id


async def test_openai_tries_again_when_told_to_and_not_when_the_budget_is_spent(url: str, gate: ScriptedGate) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=1) as client:
        for error, tries in ((Overloaded("full", retry_after=1), 2), (BudgetSpent("spent"), 1)):
            gate.error = error
            gate.seen.clear()
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="tiny", messages=HELLO)
            assert len(gate.seen) == tries


async def test_openai_sees_wrong_keys_and_fields(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=0)
    assert caught.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="tiny", messages=[])
    with pytest.raises(openai.APIStatusError) as large:
        await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 10 * 2**20}])
    assert large.value.status_code == 413


async def test_openai_sees_a_stream_break_off(client: openai.AsyncOpenAI, gate: ScriptedGate) -> None:
    gate.breaks = Unavailable("The backend went away.")
    stream = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert "".join([(await anext(stream)).choices[0].delta.content or "" for _ in range(3)]) == "one two three"
    with pytest.raises(openai.APIError, match="went away"):
        await anext(stream)


async def test_openai_may_leave_a_stream(client: openai.AsyncOpenAI, gate: ScriptedGate) -> None:
    gate.words, gate.delay = ["word"] * 10_000, 0.01
    stream = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await assert_eventually(lambda: gate.freed == 1 and gate.under_way == 0, 1)


async def test_ollama_chats_and_streams(native: ollama.AsyncClient, gate: ScriptedGate) -> None:
    whole = await native.chat("tiny", HELLO, options={"num_predict": 4, "temperature": 0})
    assert (whole.message.content, whole.done, whole.done_reason) == ("one two three", True, "stop")
    assert (whole.prompt_eval_count, whole.eval_count) == (7, 3)
    assert gate.seen[0].body == {"messages": HELLO, "max_tokens": 4, "temperature": 0}
    parts = [part async for part in await native.chat("tiny", HELLO, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == "one two three"
    assert (parts[-1].done, parts[-1].eval_count) == (True, 3)


async def test_ollama_generates(native: ollama.AsyncClient, gate: ScriptedGate) -> None:
    assert (await native.generate("tiny", "hi", system="be kind", format="json")).response == "one two three"
    assert gate.seen[0].body["response_format"] == {"type": "json_object"}
    parts = [part async for part in await native.generate("tiny", "hi", raw=True, stream=True)]
    assert "".join(part.response or "" for part in parts) == "one two three"


async def test_ollama_calls_tools(native: ollama.AsyncClient, gate: ScriptedGate) -> None:
    gate.message = {"tool_calls": [CALL]}
    for stream in (False, True):
        if stream:
            last = [part async for part in await native.chat("tiny", HELLO, tools=[WEATHER], stream=True)][-1]
        else:
            last = await native.chat("tiny", HELLO, tools=[WEATHER])
        assert last.message.tool_calls is not None
        assert last.message.tool_calls[0].function.arguments == {"city": "Oslo"}
    answered: Any = [*HELLO, last.message, {"role": "tool", "tool_name": "weather", "content": "rain"}]
    await native.chat("tiny", answered)
    said = gate.seen[-1].body["messages"]
    assert said[2]["tool_call_id"] == said[1]["tool_calls"][0]["id"]


async def test_ollama_embeds(native: ollama.AsyncClient) -> None:
    assert (await native.embed("vectors", ["a", "b"])).embeddings == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]]
    assert (await native.embeddings("vectors", "a")).embedding == [0.5, -1.0, 0.0]


async def test_ollama_looks_around_but_changes_nothing(native: ollama.AsyncClient) -> None:
    assert [model.model for model in (await native.list()).models] == ["tiny", "fast", "vectors"]
    assert (await native.show("vectors")).capabilities == ["embedding"]
    assert (await native.ps()).models[0].context_length == 2048
    for change in (native.pull("x"), native.push("x"), native.delete("x"), native.copy("x", "y"), native.create("x")):
        with pytest.raises(ollama.ResponseError) as caught:
            await change
        assert caught.value.status_code == 403


async def test_ollama_knows_our_errors(native: ollama.AsyncClient, gate: ScriptedGate) -> None:
    for error, status in ((NotFound("no"), 404), (PromptTooLong("no"), 400), (Overloaded("no"), 429)):
        gate.error = error
        with pytest.raises(ollama.ResponseError, match="no") as caught:
            await native.chat("tiny", HELLO)
        assert caught.value.status_code == status
    gate.error, gate.breaks = None, Unavailable("went away")
    with pytest.raises(ollama.ResponseError, match="went away"):
        async for _ in await native.chat("tiny", HELLO, stream=True):
            pass


litellms_own = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
"""LiteLLM's own models warn about themselves."""


@pytest.fixture
def lite(url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., Awaitable[Any]]]:
    """Calls LiteLLM in a thread: even its asynchronous calls ask Ollama for the model in a blocking way."""
    monkeypatch.setenv("OLLAMA_API_BASE", url)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)

    async def call(what: Callable[..., Any], model: str, **more: Any) -> Any:
        base = url if model.startswith("ollama") else f"{url}/v1"

        def work() -> Any:
            answer = what(model=model, api_base=base, api_key=KEY, num_retries=0, max_retries=0, timeout=20, **more)
            return list(answer) if more.get("stream") else answer

        return await asyncio.to_thread(work)

    yield call
    kept = litellm.in_memory_llm_clients_cache  # its clients, which it never closes
    for client in [*kept.cache_dict.values(), litellm.module_level_client]:
        if callable(close := getattr(client, "close", None)) and not inspect.iscoroutinefunction(close):
            close()
    kept.flush_cache()


@litellms_own
@pytest.mark.parametrize("model", ["openai/tiny", "hosted_vllm/tiny", "ollama_chat/tiny", "ollama/tiny"])
async def test_litellm_chats_and_streams(lite: Callable[..., Awaitable[Any]], model: str) -> None:
    answer = await lite(litellm.completion, model, messages=HELLO, temperature=0, max_tokens=5)
    assert answer.choices[0].message.content == "one two three"
    assert answer.usage.total_tokens == 10
    chunks = await lite(litellm.completion, model, messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"


@litellms_own
async def test_litellm_calls_tools_and_embeds(lite: Callable[..., Awaitable[Any]], gate: ScriptedGate) -> None:
    vectors = await lite(litellm.embedding, "openai/vectors", input=["a", "b"])
    assert [entry["embedding"] for entry in vectors.data] == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]]
    text = await lite(litellm.text_completion, "text-completion-openai/tiny", prompt="a")
    assert text.choices[0].text == "one two three"
    gate.message = {"tool_calls": [CALL]}
    # Without the flag it imports a package it does not ask for, to see whether the tools are those of its own proxy.
    own = {"_skip_mcp_handler": True}
    answer = await lite(litellm.completion, "openai/tiny", messages=HELLO, tools=[WEATHER], **own)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


@litellms_own
async def test_litellm_knows_our_errors(lite: Callable[..., Awaitable[Any]], gate: ScriptedGate) -> None:
    for error, wanted in (
        (NotFound("no"), litellm.exceptions.NotFoundError),
        (PromptTooLong("no"), litellm.exceptions.BadRequestError),
        (Overloaded("no"), litellm.exceptions.RateLimitError),
        (Unavailable("no"), litellm.exceptions.ServiceUnavailableError),
    ):
        gate.error = error
        with pytest.raises(wanted):
            await lite(litellm.completion, "openai/tiny", messages=HELLO)
