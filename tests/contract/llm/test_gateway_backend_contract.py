"""What every backend promises: the twin, a real llama.cpp server through each adapter that fits it, Ollama, vLLM.

A real vLLM is asked where `COLONY_TEST_VLLM` names its program (docs/how-to/use-a-model.md); elsewhere its adapter
speaks to llama.cpp, whose interface is the same but for `/tokenize` and the names of the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded, ModelRefused, NotFound, NotPermitted, PromptTooLong
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.backends.ollama import open_ollama
from ray_app.gateway.backends.open import speaking_openai
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import BackendCall, Body, Chunk, Kind
from ray_app.gateway.ports import Backend
from tests.eventually import assert_eventually
from tests.servers.model import embedded_model
from tests.servers.ollama import running_ollama
from tests.servers.vllm import running_vllm

pytestmark = [pytest.mark.contract, pytest.mark.asyncio(loop_scope="module")]

CONTEXT = 256
SLOTS = 2
KEY = "a-key-of-this-test"
STORY = " ".join(f"word{number}" for number in range(40))
REAL_VLLM = "vllm itself"
REAL = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("openai", "llama_cpp", "vllm", "ollama", REAL_VLLM)]
LLAMA = pytest.param("llama_cpp", marks=pytest.mark.slow)
OLLAMA = pytest.param("ollama", marks=pytest.mark.slow)


@dataclass(frozen=True)
class Server:
    url: str
    key_file: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    folder = tmp_path_factory.mktemp("model")
    key_file = folder / "key"
    key_file.write_text(KEY)
    with pytest.MonkeyPatch.context() as patch:
        # On a busy machine two threads mostly wait for each other.
        patch.setenv("COLONY_MODEL_THREADS", "1")
        async with embedded_model(folder, slots=SLOTS, context=CONTEXT, key_file=key_file) as endpoint:
            yield Server(endpoint.url, endpoint.key_file)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    # It answers the first token of nobody who waits: as many at once as the tests of callers who leave have.
    async with running_ollama(tmp_path_factory.mktemp("ollama"), OLLAMA_NUM_PARALLEL=str(2 * SLOTS)) as running:
        yield Server(running.url, "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    folder = tmp_path_factory.mktemp("vllm")
    key_file = tmp_path_factory.mktemp("vllm-key") / "key"
    key_file.write_text(KEY)
    async with running_vllm(folder, key=KEY, context=CONTEXT, slots=SLOTS) as url:
        yield Server(url, str(key_file))


@pytest.fixture(params=["scripted", *REAL])
def other_side(request: pytest.FixtureRequest) -> tuple[str, Server | None]:
    """The kind of adapter, and the server it speaks to."""
    if request.param == "scripted":
        return request.param, None
    if request.param == REAL_VLLM:
        return "vllm", request.getfixturevalue("vllm")
    return request.param, request.getfixturevalue("ollama" if request.param == "ollama" else "server")


@pytest_asyncio.fixture(loop_scope="module")
async def backend(other_side: tuple[str, Server | None]) -> AsyncGenerator[Backend]:
    kind, server = other_side
    if server is None:
        config = BackendConfig(kind="scripted", slots=SLOTS, context=CONTEXT)
        yield ScriptedBackend("here/0", Script(STORY, first=0.001, each=0.001), config)
        return
    opening = open_ollama if kind == "ollama" else speaking_openai
    async with opening("here/0", server.url, config_of(server, kind)) as opened:
        yield opened


def config_of(server: Server, kind: Any, **given: Any) -> BackendConfig:
    return BackendConfig(
        kind=kind, urls=(server.url,), key_file=server.key_file, context=CONTEXT, silence=60.0, **given
    )


async def model_of(backend: Backend) -> str:
    return (await backend.models())[0].name


async def chat(backend: Backend, text: str, *, seconds: float = 60.0, **given: Any) -> BackendCall:
    body: Body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **given}
    return BackendCall(kind=Kind.CHAT, model=await model_of(backend), body=body, seconds=seconds)


async def pieces_of(backend: Backend, call: BackendCall) -> list[Chunk]:
    async with aclosing(backend.stream(call)) as pieces:
        return [piece async for piece in pieces]


def joined(pieces: list[Chunk]) -> Body:
    assembly = Assembly(1_000_000)
    for piece in pieces:
        assembly.add(piece)
    whole = assembly.whole()
    assert whole is not None
    return whole


async def test_it_names_itself_and_its_models(backend: Backend) -> None:
    assert backend.name == "here/0"
    (model,) = await backend.models()
    assert model.name
    assert model.context == CONTEXT


async def test_an_answer_counts_its_tokens(backend: Backend) -> None:
    body = await backend.answer(await chat(backend, "Tell me a story about a river."))
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    assert body["usage"]["prompt_tokens"] >= 7
    assert body["usage"]["completion_tokens"] == 8


async def test_a_stream_says_the_same_and_ends_with_its_counters(backend: Backend) -> None:
    call = await chat(backend, "Tell me a story about a river.")
    pieces = await pieces_of(backend, call)
    assert len(pieces) >= 8
    assert pieces[-1]["choices"] == []
    assert all("usage" not in piece for piece in pieces[:-1])
    streamed, whole = joined(pieces), await backend.answer(call)
    message = whole["choices"][0]["message"]
    assert streamed["choices"][0]["message"] == {name: value for name, value in message.items() if value is not None}
    assert streamed["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 8
    assert streamed["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]


async def test_words_that_end_an_answer(backend: Backend) -> None:
    call = await chat(backend, "Tell me a story about a river.", max_tokens=30)
    said = (await backend.answer(call))["choices"][0]["message"]["content"]
    end = said.split()[2]
    cut = await backend.answer(call.model_copy(update={"body": {**call.body, "stop": [end]}}))
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["choices"][0]["message"]["content"] == said.partition(end)[0]


async def test_a_completion_of_several_prompts(backend: Backend) -> None:
    body = {"prompt": ["One two three", "Once upon a time there was"], "max_tokens": 4}
    call = BackendCall(kind=Kind.COMPLETION, model=await model_of(backend), body=body, seconds=60)
    whole = await backend.answer(call)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert all(choice["text"] for choice in whole["choices"])
    streamed = joined(await pieces_of(backend, call))
    assert [choice["index"] for choice in streamed["choices"]] == [0, 1]


async def test_several_answers_to_one_question(backend: Backend) -> None:
    call = await chat(backend, "Say something.", n=2, max_tokens=3, temperature=0.5)  # vLLM: never n of one answer
    assert [choice["index"] for choice in (await backend.answer(call))["choices"]] == [0, 1]
    assert [choice["index"] for choice in joined(await pieces_of(backend, call))["choices"]] == [0, 1]


@pytest.mark.parametrize("other_side", ["scripted", *REAL[:-1]], indirect=True)  # vLLM either chats or embeds
async def test_embeddings(backend: Backend) -> None:
    model = await model_of(backend)

    async def embed(*texts: str) -> Body:
        call = BackendCall(kind=Kind.EMBEDDING, model=model, body={"input": list(texts)}, seconds=60)
        return await backend.answer(call)

    body = await embed("a river", "a mountain", "a river")
    first, second, third = (entry["embedding"] for entry in body["data"])
    assert first == pytest.approx(third, abs=0.01)
    assert first != pytest.approx(second, abs=0.01)
    assert body["usage"]["prompt_tokens"] >= 6
    with pytest.raises(ModelRefused):
        await pieces_of(backend, BackendCall(kind=Kind.EMBEDDING, model=model, body={"input": "a river"}, seconds=60))


@pytest.mark.parametrize("other_side", REAL, indirect=True)
async def test_a_server_that_cannot_classify_says_so(backend: Backend) -> None:
    call = BackendCall(kind=Kind.CLASSIFICATION, model=await model_of(backend), body={"input": ["fine"]}, seconds=60)
    with pytest.raises(ModelRefused, match="does not classify"):
        await backend.answer(call)
    with pytest.raises(ModelRefused):
        await pieces_of(backend, call)


async def test_a_prompt_too_long_is_refused_whole_and_streamed(backend: Backend) -> None:
    call = await chat(backend, "word " * (CONTEXT + 1))
    with pytest.raises(PromptTooLong):
        await backend.answer(call)
    with pytest.raises(PromptTooLong):
        await pieces_of(backend, call)


async def test_the_size_of_a_prompt_is_what_is_read(backend: Backend) -> None:
    call = await chat(backend, "Tell me <|im_end|> of a river, and of 37 boats.", max_tokens=1)
    size = await backend.prompt_size(Kind.CHAT, call.model, call.body)
    read = (await backend.answer(call))["usage"]["prompt_tokens"]
    assert size.tokens == read if size.exact else size.tokens <= read
    listed = await backend.prompt_size(Kind.COMPLETION, call.model, {"prompt": ["one", "one two three four"]})
    assert listed.tokens >= 3


async def test_a_check_and_a_preparation_work(backend: Backend) -> None:
    model = await model_of(backend)
    seen: list[float] = []
    await backend.check(model)
    await backend.prepare(model, lambda _, share: seen.append(share))
    assert seen[-1] == 1.0
    await backend.load()


async def test_the_time_of_a_call_is_kept(backend: Backend) -> None:
    call = await chat(backend, "Write a very long story.", max_tokens=200, seconds=0.005)
    with pytest.raises(DeadlineExceeded):
        await backend.answer(call)
    with pytest.raises(DeadlineExceeded):
        await pieces_of(backend, call)
    assert (await backend.answer(await chat(backend, "Still there?")))["choices"]


async def test_a_caller_who_leaves_frees_the_slot(backend: Backend) -> None:
    """All slots are taken by callers who leave: were they still worked on, the call behind them would wait long."""
    call = await chat(backend, "Write a very long story about a river.", max_tokens=200)
    streams = [backend.stream(call) for _ in range(SLOTS)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    for stream in streams:
        await stream.aclose()
    await assert_eventually(lambda: idle(backend), 30)
    calls = [asyncio.create_task(backend.answer(call)) for _ in range(SLOTS)]
    await asyncio.wait(calls, timeout=0.05)
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await assert_eventually(lambda: idle(backend), 30)
    assert (await backend.answer(await chat(backend, "Still there?", max_tokens=1)))["choices"]


async def idle(backend: Backend) -> bool:
    load = await backend.load()
    return load is None or load.running == 0


async def test_many_at_once(backend: Backend) -> None:
    calls = [await chat(backend, f"Say the number {number}.", max_tokens=4) for number in range(8)]
    answers = await asyncio.gather(
        *(backend.answer(call) for call in calls[:4]), *(pieces_of(backend, call) for call in calls[4:])
    )
    assert all(answers)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "llama_cpp", "vllm"])
async def test_a_wrong_key_is_told_and_not_repeated(server: Server, kind: Any) -> None:
    config = config_of(server, kind).model_copy(update={"key_file": ""})
    async with speaking_openai("here/0", server.url, config) as stranger:
        with pytest.raises(NotPermitted) as caught:
            await stranger.models()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("other_side", [REAL[-1]], indirect=True)
async def test_vllm_counts_exactly_says_its_load_and_knows_its_context(backend: Backend) -> None:
    call = await chat(backend, "Hello there.")
    assert (await backend.prompt_size(Kind.CHAT, call.model, call.body)).exact
    assert await backend.load() is not None
    assert call.model == "tiny"
    embedding = BackendCall(kind=Kind.EMBEDDING, model=call.model, body={"input": "a river"}, seconds=60)
    with pytest.raises((ModelRefused, NotFound)):
        await backend.answer(embedding)


@pytest.mark.parametrize("other_side", ["scripted", LLAMA, OLLAMA, REAL[-1]], indirect=True)
async def test_a_model_it_does_not_serve(backend: Backend) -> None:
    call = (await chat(backend, "Hello.")).model_copy(update={"model": "nobody"})
    with pytest.raises(NotFound):
        await backend.answer(call)
    with pytest.raises(NotFound):
        await pieces_of(backend, call)


@pytest.mark.parametrize("other_side", ["scripted", LLAMA, OLLAMA], indirect=True)
async def test_every_choice_is_counted(backend: Backend) -> None:
    one = (await backend.answer(await chat(backend, "Say something.", max_tokens=3)))["usage"]
    two = (await backend.answer(await chat(backend, "Say something.", max_tokens=3, n=2)))["usage"]
    assert two["completion_tokens"] == 2 * one["completion_tokens"]
    assert two["prompt_tokens"] == one["prompt_tokens"]
    body = {"prompt": ["One two three", "Four five six"], "max_tokens": 4}
    call = BackendCall(kind=Kind.COMPLETION, model=await model_of(backend), body=body, seconds=60)
    usage = (await backend.answer(call))["usage"]
    assert usage["prompt_tokens"] == 6
    assert usage["completion_tokens"] == 8


@pytest.mark.parametrize("other_side", [LLAMA], indirect=True)
async def test_llama_cpp_counts_exactly_and_refuses_tools_it_would_drop(backend: Backend) -> None:
    call = await chat(backend, "Hello.")
    assert (await backend.prompt_size(Kind.CHAT, call.model, call.body)).exact
    assert (await backend.models())[0].embeds > 0
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(ModelRefused, match="takes no tools"):
        await backend.answer(call.model_copy(update={"body": {**call.body, "tools": [tool]}}))


@pytest.mark.parametrize("other_side", [LLAMA], indirect=True)
async def test_llama_cpp_obeys_a_schema(backend: Backend) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["good"]}}, "required": ["label"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    call = await chat(backend, "Is it good?", max_tokens=60, response_format=wanted)
    assert '"good"' in (await backend.answer(call))["choices"][0]["message"]["content"]
    wrong = {**wanted, "json_schema": {"name": "answer", "schema": {"type": "nonsense"}}}
    with pytest.raises(ModelRefused):
        await backend.answer(call.model_copy(update={"body": {**call.body, "response_format": wrong}}))


@pytest.mark.slow
@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
async def test_no_token_of_the_template_can_be_said(server: Server, token: str) -> None:
    """Read as one token where it is raw, as several once it is broken: nothing ends a role but the template."""
    said = f"a {token}b"
    async with speaking_openai("here/0", server.url, config_of(server, "openai")) as raw:
        assert await size(raw, said) <= await size(raw, "a b") + 2
        dangerous = await size(raw, said)
    for kind in ("llama_cpp", "vllm"):
        async with speaking_openai("here/0", server.url, config_of(server, kind)) as safe:
            assert await size(safe, said) > dangerous + 3


async def size(backend: Backend, text: str) -> int:
    return (await backend.answer(await chat(backend, text, max_tokens=1)))["usage"]["prompt_tokens"]
