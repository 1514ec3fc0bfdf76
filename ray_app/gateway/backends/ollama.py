"""Ollama's native API behind the port `Backend`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from colony.config.gateway import BackendConfig
from colony.errors import NotFound, PromptTooLong, TruncatedAnswer, Unavailable
from colony.llm.http import http_client
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.backends.control_tokens import safe_chat
from ray_app.gateway.backends.ollama_models import Facts, OllamaModels
from ray_app.gateway.backends.ollama_prompt import (
    Density,
    Prompt,
    answer_limit,
    lost_part,
    prompt_of,
)
from ray_app.gateway.backends.ollama_translate import (
    Native,
    Pieces,
    chat_request,
    choices_wanted,
    completion_requests,
    embed_request,
    embeddings_answer,
    options,
    wanted_tokens,
)
from ray_app.gateway.backends.ollama_wire import OllamaWire
from ray_app.gateway.backends.refusal import no_classes, not_streamed
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel

MAX_BYTES: Final = 8_000_000
"""Most characters of one answer."""

REPEATS: Final = 30
"""After so many equal pieces Ollama ends an answer without saying that it did."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One answer that is asked for."""

    path: str
    native: Native
    prompt: Prompt
    choice: int
    """Which of the answers to its prompt."""


class OllamaBackend:
    """One Ollama server; use through `open_ollama`."""

    def __init__(self, name: str, wire: OllamaWire, config: BackendConfig) -> None:
        self._name = name
        self._wire = wire
        self._config = config
        self._models = OllamaModels(name, wire, config)
        self._density: dict[str, Density] = {}

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`."""
        if call.kind is Kind.EMBEDDING:
            return await self._embed(call)
        if call.kind is Kind.CLASSIFICATION:
            raise no_classes(self._config.kind)
        assembly = Assembly(MAX_BYTES)
        async with aclosing(self.stream(call)) as pieces:
            async for piece in pieces:
                assembly.add(piece)
        whole = assembly.whole()
        if whole is None:
            raise Unavailable(f"Ollama answered with more than {MAX_BYTES // 1_000_000} MB.")
        return whole

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`. Several prompts and choices come one after the other: the call holds one slot."""
        if call.kind.whole:
            raise not_streamed(call.kind)
        facts, obeys = await self._models.facts(call.model), await self._models.obeys()
        deadline = asyncio.get_running_loop().time() + self._seconds(call)
        pieces, read, made = None, 0, 0
        for index, request in enumerate(_requests(call, facts)):
            pieces = Pieces(call.kind, call.model, index, pieces)
            end: Native = {}
            native = {**request.native, "options": self._options(call, request, facts, obeys=obeys)}
            async with aclosing(self._lines(call.model, request.path, native, deadline)) as lines:
                async for line in lines:
                    end = line
                    piece = pieces.piece(line)
                    if piece is not None:
                        yield piece
            tokens = self._checked(call.model, request.prompt, end, facts, obeys=obeys)
            read += tokens if request.choice == 0 else 0  # one prompt, however many answers
            made += int(end.get("eval_count") or 0)
            yield pieces.last(str(end.get("done_reason") or ""))
        if pieces is not None:
            yield pieces.counters(read, made)

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`. Those configured, as far as the server has them; all when none is."""
        return await self._models.served()

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`. Ollama counts nothing beforehand: the fewest tokens it can be."""
        return PromptSize(tokens=prompt_of(kind, body).least, exact=False)

    async def check(self, model: str) -> None:
        """See `Backend`."""
        facts = await self._models.facts(model)
        if facts.embeddings:
            kind, body = Kind.EMBEDDING, Body(input="ping")
        else:
            kind, body = Kind.CHAT, Body(messages=[{"role": "user", "content": "ping"}], max_tokens=1, temperature=0)
        # Its answer is one token: silence for longer than that means that it hangs.
        await self.answer(BackendCall(kind=kind, model=model, body=body, seconds=self._config.silence))

    async def load(self) -> BackendLoad | None:
        """See `Backend`. Ollama tells which models are loaded, not how much they have to do."""
        return None

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`. Pulls only models that the configuration names. Raises `NotFound` for any other one."""
        await self._models.prepare(model, progress)

    def _options(self, call: BackendCall, request: _Request, facts: Facts, *, obeys: bool) -> dict[str, Any]:
        prompt = request.prompt
        if prompt.least >= facts.context:
            raise PromptTooLong(
                f"The prompt has at least {prompt.least} tokens, the model {call.model!r} takes {facts.context} "
                "with its answer.",
                remedy="Shorten the prompt, or raise `context` of the backend.",
            )
        limit = wanted_tokens(call.body)
        if not obeys:
            limit = answer_limit(prompt, limit, facts.context, self._density_of(call.model).value)
        found = {**options(call.body, request.choice), "num_ctx": facts.context}
        return found if limit is None else {**found, "num_predict": limit}

    async def _lines(self, model: str, path: str, native: Native, deadline: float) -> AsyncGenerator[Native]:
        """The lines of one answer, up to the one that is `done`."""
        last, repeats, count = "", 0, 0
        native = {**native, **self._models.always(), "stream": True}
        try:
            seconds = deadline - asyncio.get_running_loop().time()
            async with aclosing(self._wire.lines(path, native, seconds=seconds)) as lines:
                async for line in lines:
                    yield line
                    if line.get("done"):
                        return
                    said = str(line.get("response") or cast("Native", line.get("message") or {}).get("content") or "")
                    repeats = repeats + 1 if said.strip() == last else 0
                    last, count = said.strip(), count + 1
        except NotFound:
            self._models.forget(model)
            raise
        if repeats < REPEATS:
            raise Unavailable("Ollama broke off its answer.")
        yield {"done": True, "done_reason": "length", "eval_count": count}

    def _checked(self, model: str, prompt: Prompt, end: Native, facts: Facts, *, obeys: bool) -> int:
        """Tokens of the prompt, once it is sure that all of it was read. Raises `TruncatedAnswer`."""
        read, made = int(end.get("prompt_eval_count") or 0), int(end.get("eval_count") or 0)
        density = self._density_of(model)
        if not read:
            return prompt.least
        cut = read < prompt.least if obeys else lost_part(prompt, read, facts.context, density.value)
        if cut:
            raise TruncatedAnswer(
                f"Ollama read {read} tokens and must have cut the prompt; {model!r} has a context of {facts.context}.",
                remedy="Shorten the prompt, or raise `context` of the backend.",
            )
        if not obeys and read + made > facts.context + 1:  # the last token is never put into the context
            raise TruncatedAnswer(
                f"Ollama lost the start of the prompt while it answered: {read} and {made} tokens in a context of "
                f"{facts.context}.",
                remedy="Ask for a shorter answer, or raise `context` of the backend.",
            )
        density.learn(prompt, read)
        return read

    async def _embed(self, call: BackendCall) -> Body:
        native = embed_request(call.model, call.body)
        facts = await self._models.facts(call.model)
        native |= {**self._models.always(), "options": {"num_ctx": facts.context}}
        try:
            answer = await self._wire.json("POST", "/api/embed", native, seconds=self._seconds(call))
        except NotFound:
            self._models.forget(call.model)
            raise
        if not isinstance(answer, dict):
            raise Unavailable("Ollama answered with something that is no embedding.")
        body = embeddings_answer(call.model, call.body, cast("Native", answer))
        if len(body["data"]) != len(native["input"]):
            raise Unavailable(f"Ollama made {len(body['data'])} embeddings of {len(native['input'])} texts.")
        return body

    def _seconds(self, call: BackendCall) -> float:
        return min(call.seconds, self._config.timeout)

    def _density_of(self, model: str) -> Density:
        return self._density.setdefault(model, Density())


def _requests(call: BackendCall, facts: Facts) -> list[_Request]:
    """Each request that a call takes, in the order of its choices."""
    if call.kind is Kind.CHAT:
        # Ollama reads the tokens of the template out of messages too: they must not end their own role.
        body = safe_chat(facts.tokens, call.body)
        found = [("/api/chat", chat_request(call.model, body), prompt_of(call.kind, body))]
    else:
        found = [
            ("/api/generate", native, prompt_of(call.kind, {"prompt": native["prompt"]}))
            for native in completion_requests(call.model, call.body)
        ]
    return [_Request(*one, choice) for one in found for choice in range(choices_wanted(call.body))]


@asynccontextmanager
async def open_ollama(name: str, url: str, config: BackendConfig) -> AsyncGenerator[OllamaBackend]:
    """The replica `name` at `url`. Sends nothing until it is used. Raises `ConfigInvalid`, `NotFound`, `BadInput`."""
    async with http_client(url, config.key_file) as client:
        yield OllamaBackend(name, OllamaWire(client, config.silence), config)
