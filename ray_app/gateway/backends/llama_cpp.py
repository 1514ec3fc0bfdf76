"""llama.cpp's server, also the embedded one: OpenAI's API, what it says beyond it, and what it gets wrong.

Measured on the server of xllamacpp 2026.10: it answers calls for any model's name with the one it has; its counters
are those of the first choice only, in streams of each choice for itself; it drops `tools` where the template of the
model has no place for them; it reads control tokens out of messages; and it works on to the end of a whole answer
whose caller has gone, while a stream nobody reads ends within 0.1 s. All of it is set right here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, cast

import structlog

from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded, ModelRefused, NotFound, NotPermitted, Unavailable
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.backends.control_tokens import safe_chat
from ray_app.gateway.backends.llama_cpp_facts import Facts, facts_from
from ray_app.gateway.backends.logprobs import Logprobs
from ray_app.gateway.backends.model_list import names_in
from ray_app.gateway.backends.openai import ASK_SECONDS, Habits, OpenAIBackend
from ray_app.gateway.backends.openai_shape import parsed, prompt_texts
from ray_app.gateway.backends.prometheus import figures
from ray_app.gateway.backends.wire import MAX_ANSWER, Wire
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel

_RUNNING: Final = "llamacpp:requests_processing"
_WAITING: Final = "llamacpp:requests_deferred"
_COUNTED: Final = 4
"""Texts of a list whose tokens are counted."""

_COUNT: Final = "/v1/chat/completions/input_tokens"
_NOT_THERE: Final = (NotFound, ModelRefused, NotPermitted)
_log = structlog.get_logger(__name__)


class LlamaCppBackend:
    """One llama.cpp server. See `Backend` for what all of it promises."""

    def __init__(self, name: str, client: Wire, config: BackendConfig) -> None:
        self._api = OpenAIBackend(name, client, config, Habits(counts_choices=True))
        self._wire = client
        self._config = config
        self._facts: Facts | None = None
        self._asking = asyncio.Lock()
        self._loads = (self._metrics_load, self._slots_load)

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._api.name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`. Read as a stream: only that stops when the caller leaves, and counts all choices."""
        if call.kind.whole:
            return self._ours(call, await self._api.answer(await self._ready(call)))
        assembly, chances = Assembly(MAX_ANSWER), Logprobs()
        async with aclosing(self.stream(call)) as pieces:
            async for piece in pieces:
                assembly.add(chances.taken(piece))
        whole = assembly.whole()
        if whole is None:
            raise Unavailable("The model server did not finish its answer.")
        return chances.given(whole)

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`."""
        call = await self._ready(call)
        first = True
        async with aclosing(self._api.stream(call)) as pieces:
            async for piece in pieces:
                if first:
                    first = False
                    self._ours(call, piece)
                yield piece

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`. The context is that of one slot."""
        listed, facts = await self._asked()
        self._facts = facts
        return tuple(
            model.model_copy(
                update={
                    "context": facts.context or model.context,
                    "embeds": 0 if model.embeddings else facts.embeds,
                }
            )
            for model in self._api.served(listed)
        )

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`. Counted by the server, template included; of a list of prompts, the longest one."""
        facts = await self._known()
        try:
            if kind is Kind.CHAT:
                return PromptSize(tokens=await self._count_chat(safe_chat(facts.tokens, body)), exact=True)
            return await self._longest(prompt_texts(kind, body))
        except _NOT_THERE:
            return await self._api.prompt_size(kind, model, body)

    async def check(self, model: str) -> None:
        """See `Backend`."""
        await self._api.check(model)

    async def load(self) -> BackendLoad | None:
        """See `Backend`. From its slots or its metrics; None where it serves neither."""
        for source in self._loads:
            try:
                found = await source()
            except _NOT_THERE:
                self._loads = tuple(other for other in self._loads if other != source)
            else:
                return found
        return None

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`. Its model is loaded when it serves."""
        facts = await self._known()
        if facts.slots is not None and facts.slots < self._config.slots:
            _log.warning("fewer slots than configured", replica=self.name, slots=facts.slots, set=self._config.slots)
        await self._api.prepare(model, progress)

    async def _ready(self, call: BackendCall) -> BackendCall:
        """The call as it is sent. Raises `NotFound`, `ModelRefused` for what the server would take and not do."""
        try:
            async with asyncio.timeout(call.seconds):
                facts = await self._known()
        except TimeoutError:
            raise DeadlineExceeded("The model server did not say in time what it serves.") from None
        if call.model not in facts.names:
            raise NotFound(f"The model server serves no {call.model[:100]!r}.")
        if call.kind is not Kind.CHAT:
            return call
        if call.body.get("tools") and call.body.get("tool_choice") != "none" and not facts.takes_tools:
            raise ModelRefused(
                f"The model {call.model!r} takes no tools.", remedy="Leave out `tools`, or use another model."
            )
        body = safe_chat(facts.tokens, call.body)
        return call if body is call.body else call.model_copy(update={"body": body})

    def _ours(self, call: BackendCall, said: Body) -> Body:
        """An answer of the model asked for. Another one means that the server was given another model meanwhile."""
        model = said.get("model")
        if self._facts is not None and isinstance(model, str) and model and model not in self._facts.names:
            self._facts = None
            raise NotFound(f"The model server serves {model[:100]!r} now, no {call.model[:100]!r}.")
        return said

    async def _known(self) -> Facts:
        facts = self._facts
        if facts is None:
            async with self._asking:
                facts = self._facts
                if facts is None:
                    _, facts = await self._asked()
                    self._facts = facts
        return facts

    async def _asked(self) -> tuple[Body, Facts]:
        """The list of its models, and what it says of itself."""
        listed = await self._api.ask("GET", "/v1/models")
        names = names_in(listed)
        try:
            props = await self._api.ask("GET", "/props")
        except _NOT_THERE:
            props = {}
        return listed, facts_from(names, props, embeds=await self._embeds())

    async def _embeds(self) -> bool:
        """Whether it embeds at all: an empty input is refused with 400 if so, with 501 if not, and costs nothing."""
        try:
            await self._api.ask("POST", "/v1/embeddings", {"input": ""})
        except ModelRefused:
            return True
        except (NotFound, Unavailable):
            return False
        return True

    async def _longest(self, texts: list[Any]) -> PromptSize:
        """Tokens of the longest text. Few of them are counted: a text has no more tokens than bytes."""
        texts = sorted(texts, key=_bytes, reverse=True)
        most = 0
        for text in texts[:_COUNTED]:
            most = max(most, await self._count_text(text))
        return PromptSize(tokens=most, exact=all(_bytes(text) < most for text in texts[_COUNTED:]))

    async def _count_chat(self, body: Body) -> int:
        try:
            tokens = (await self._api.ask("POST", _COUNT, body)).get("input_tokens")
            if isinstance(tokens, int):
                return tokens
        except NotFound:
            _log.debug("an older server: two questions instead of one", replica=self.name)
        return await self._count_text((await self._api.ask("POST", "/apply-template", body)).get("prompt"))

    async def _count_text(self, text: Any) -> int:
        if isinstance(text, list):
            return len(cast("list[Any]", text))  # tokens already
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens = (await self._api.ask("POST", "/tokenize", body)).get("tokens")
        if not isinstance(tokens, list):
            raise NotFound("The model server counts no tokens.")
        return len(cast("list[Any]", tokens))

    async def _slots_load(self) -> BackendLoad:
        slots = parsed(await self._wire.get("/slots", seconds=ASK_SECONDS), "list of slots")
        if not isinstance(slots, list):
            raise NotFound("The model server lists no slots.")
        busy = [slot for slot in cast("list[dict[str, Any]]", slots) if slot.get("is_processing")]
        return BackendLoad(running=len(busy))

    async def _metrics_load(self) -> BackendLoad:
        page = await self._wire.get("/metrics", seconds=ASK_SECONDS)
        found = figures(page.decode("utf-8", "replace"), _RUNNING, _WAITING)
        if _RUNNING not in found:
            raise NotFound("The model server has no metrics of its load.")
        return BackendLoad(running=int(found[_RUNNING]), waiting=int(found.get(_WAITING, 0)))


def _bytes(text: Any) -> int:
    return len(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else cast("list[Any]", text))
