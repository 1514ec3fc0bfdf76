"""Any server that speaks OpenAI's API: a hosted provider, or the base of what llama.cpp and vLLM add to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

from colony.config.gateway import BackendConfig
from colony.errors import NotFound, Unavailable
from ray_app.gateway.backends.model_list import model_list
from ray_app.gateway.backends.openai_shape import (
    PATHS,
    Refused,
    choices_wanted,
    decoded,
    least_tokens,
    prompts_of,
    request_body,
    whole_answer,
)
from ray_app.gateway.backends.openai_stream import Pieces
from ray_app.gateway.backends.refusal import no_classes, not_streamed
from ray_app.gateway.backends.wire import Incoming, Wire
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel

ASK_SECONDS: Final = 10.0
"""Most a question may take that needs no model."""

_EVENTS: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Habits:
    """Where servers differ."""

    counts_choices: bool = False
    """Counters in a stream are those of each choice, not of the answer."""
    classifies: bool = False
    """It has vLLM's `/classify`."""


class OpenAIBackend:
    """One server that speaks OpenAI's API. See `Backend` for what all of it promises."""

    def __init__(self, name: str, client: Wire, config: BackendConfig, habits: Habits | None = None) -> None:
        self._name = name
        self._wire = client
        self._config = config
        self._habits = habits or Habits()
        self._embeds: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`. A whole answer may be silent until it is there: only the time of the call bounds the wait."""
        if call.kind is Kind.CLASSIFICATION and not self._habits.classifies:
            raise no_classes(self._config.kind)
        body = request_body(call, stream=False)
        data = await self._wire.post(PATHS[call.kind], body, seconds=self._seconds(call), trace=call.trace)
        try:
            return whole_answer(call, data)
        except Refused as refused:
            raise self._wire.refusal(refused.status, refused.body) from None

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`. Silence counts from the start. Counters are guessed where the server gives none."""
        if call.kind.whole:
            raise not_streamed(call.kind)
        pieces = Pieces(call, answers_a_prompt=self._answers_a_prompt(call))
        body = request_body(call, stream=True)
        try:
            async with self._wire.opened(
                "POST", PATHS[call.kind], body, seconds=self._seconds(call), streams=True, trace=call.trace
            ) as incoming:
                await self._check_kind(incoming)
                while not pieces.done:
                    data = await incoming.read()
                    for piece in pieces.feed(data) if data else pieces.finish():
                        yield piece
                yield pieces.last()
                await incoming.drain()
        except Refused as refused:
            raise self._wire.refusal(refused.status, refused.body) from None

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`. Those configured, as far as the server lists them; all when none is."""
        try:
            listed = await self.ask("GET", "/v1/models")
        except NotFound:
            if not self._config.models:
                raise
            # A server without a list: what is configured must be believed.
            listed = Body(data=[{"id": name} for name in self._config.models])
        return self.served(listed)

    def served(self, listed: Body) -> tuple[ServedModel, ...]:
        """The models to use, out of the body of `GET /v1/models`."""
        served, wanted = model_list(listed, self._config.context), self._config.models
        by_name = {model.name: model for model in served}
        found = tuple(by_name[name] for name in wanted if name in by_name) if wanted else served
        self._embeds = frozenset(model.name for model in found if model.embeddings)
        return found

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`. Nobody counts: the fewest tokens it can be. Of a list of prompts: the longest one."""
        del model
        return PromptSize(tokens=least_tokens(kind, body), exact=False)

    async def check(self, model: str) -> None:
        """See `Backend`."""
        if model in self._embeds:
            kind, body = Kind.EMBEDDING, Body(input="ping")
        else:
            kind, body = Kind.CHAT, Body(messages=[{"role": "user", "content": "ping"}], max_tokens=1)
        # Its answer is one token: silence for longer than that means that it hangs.
        await self.answer(BackendCall(kind=kind, model=model, body=body, seconds=self._config.silence))

    async def load(self) -> BackendLoad | None:
        """See `Backend`. OpenAI's API says nothing of it."""
        return None

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`. Nothing can be pulled: a first call makes the server load what it loads on demand."""
        progress("asked for a first token", 0.0)
        await self.check(model)
        progress("ready", 1.0)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from a page of the server beside OpenAI's calls."""
        if body is None:
            data = await self._wire.get(path, seconds=ASK_SECONDS)
        else:
            data = await self._wire.post(path, body, seconds=ASK_SECONDS)
        try:
            return decoded(data, f"answer to {method} {path}")
        except Refused as refused:
            raise self._wire.refusal(refused.status, refused.body) from None

    def _seconds(self, call: BackendCall) -> float:
        return min(call.seconds, self._config.timeout)

    def _answers_a_prompt(self, call: BackendCall) -> int:
        return choices_wanted(call) // prompts_of(call) if self._habits.counts_choices else 0

    async def _check_kind(self, incoming: Incoming) -> None:
        """A stream is events; anything else is a refusal in disguise, or no model server."""
        if incoming.kind == _EVENTS:
            return
        said = decoded(await incoming.whole(self._config.silence), "stream")
        raise Unavailable(
            f"The model server answered with a whole {str(said.get('object', 'object'))[:40]} instead of a stream."
        )
