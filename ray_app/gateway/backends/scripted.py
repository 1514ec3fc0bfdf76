"""A backend that says what it was told to say: the twin of the others, for tests and for trying things out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from colony.config.gateway import BackendConfig
from colony.errors import ColonyError, DeadlineExceeded, NotFound, PromptTooLong, Unavailable, Unreachable
from ray_app.gateway.backends.refusal import not_streamed
from ray_app.gateway.backends.scripted_words import ScriptedAnswer, classes, embeddings, prompts, whole, words_of
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel

Reply = str | ColonyError
"""What one call ends with: a text, or an error that is raised."""

Rule = Callable[[BackendCall], Reply]

MODEL: Final = "scripted"


@dataclass(frozen=True, slots=True)
class Script:
    """How a scripted backend behaves."""

    answer: str | Rule | None = None
    """A text for every call, or a function of the call; None repeats what was asked."""
    first: float = 0.0
    """Seconds until the first token."""
    each: float = 0.0
    """Seconds for every further token."""
    models: tuple[str, ...] = ()
    """Empty for those of the configuration, or else one called `scripted`. All chat, embed and classify."""


class ScriptedBackend:
    """One replica in memory. A token is a word; `context` and `slots` are those of the configuration.

    Calls beyond its slots wait. It can hang, die, come back, and break off calls under way.
    """

    def __init__(self, name: str, client: Script, config: BackendConfig) -> None:
        self.calls: list[BackendCall] = []
        """Every call seen, also those that failed; only the last 10,000."""
        self.running = 0
        """Calls under way, those that wait for a slot not counted."""
        self.waiting = 0
        self.most_at_once = 0
        """Most calls that were under way at the same moment."""
        self.left = 0
        """Calls whose caller went away before the end."""
        self.prepared: list[str] = []
        """Models it was told to prepare."""
        self._name = name
        self._script = client
        self._config = config
        self._models = client.models or config.models or (MODEL,)
        self._queued: deque[Reply] = deque()
        self._slots = asyncio.Semaphore(config.slots)
        self._pauses: set[asyncio.Future[None]] = set()
        self._hangs = self._dead = False

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._name

    def then(self, *replies: Reply) -> None:
        """Queue what the next calls end with."""
        self._queued.extend(replies)

    def serve(self, models: Iterable[str]) -> None:
        """Serve these models from now on."""
        self._models = tuple(models)

    def hang(self) -> None:
        """Take calls and never answer, until `revive`. Calls under way stop where they are."""
        self._hangs = True

    def break_off(self) -> None:
        """End all calls under way, as a killed server does. New ones work."""
        for pause in self._pauses:
            if not pause.done():
                pause.set_exception(_gone())

    def die(self) -> None:
        """End all calls under way and take no more, until `revive`."""
        self._dead = True
        self.break_off()

    def revive(self) -> None:
        """Work again; calls that hang go on."""
        self._dead = self._hangs = False
        for pause in self._pauses:
            if not pause.done():
                pause.set_result(None)

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`."""
        async with self._working(call) as deadline:
            said = self._said(call)
            if call.kind.whole:
                await self._pause(self._script.first, deadline)
                return embeddings(call) if call.kind is Kind.EMBEDDING else classes(call)
            longest = max((len(words_of(one.text)) for one in said), default=0)
            await self._pause(self._script.first + self._script.each * max(0, longest - 1), deadline)
            return whole(call, said)

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`. One piece for each word; choices one after the other."""
        if call.kind.whole:
            raise not_streamed(call.kind)
        async with self._working(call) as deadline:
            said = self._said(call)
            seconds = self._script.first
            for index, one in enumerate(said):
                for piece in one.pieces(call, index):
                    await self._pause(seconds, deadline)
                    seconds = self._script.each
                    yield piece
            yield {**whole(call, said), "choices": [], "object": said[0].piece_name(call)}

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`."""
        await self._pause(0.0, None)
        context = self._config.context
        return tuple(ServedModel(name=name, context=context, embeds=context) for name in self._models)

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`."""
        await self._pause(0.0, None)
        return PromptSize(tokens=max((len(words_of(text)) for text in prompts(kind, body)), default=0), exact=True)

    async def check(self, model: str) -> None:
        """See `Backend`. Held up by a server that hangs, for as long as `silence` says."""
        body = Body(messages=[{"role": "user", "content": "ping"}], max_tokens=1)
        await self.answer(BackendCall(kind=Kind.CHAT, model=model, body=body, seconds=self._config.silence))

    async def load(self) -> BackendLoad | None:
        """See `Backend`."""
        await self._pause(0.0, None)
        return BackendLoad(running=self.running, waiting=self.waiting)

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`."""
        progress("load", 0.0)
        await self.check(model)
        self.prepared.append(model)
        progress("ready", 1.0)

    @asynccontextmanager
    async def _working(self, call: BackendCall) -> AsyncGenerator[float]:
        """A slot, for the length of the block; when the call must be over. Notes a caller who leaves."""
        self.calls.append(call)
        del self.calls[:-10_000]
        if self._dead:
            raise Unreachable("The scripted server takes no connection.")
        deadline = asyncio.get_running_loop().time() + min(call.seconds, self._config.timeout)
        await self._slot(deadline)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            yield deadline
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
        finally:
            self.running -= 1
            self._slots.release()

    async def _slot(self, deadline: float) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise _late() from None
        finally:
            self.waiting -= 1

    async def _pause(self, seconds: float, deadline: float | None) -> None:
        """Let `seconds` pass, as far as the server lives and does not hang."""
        if self._dead:
            raise _gone()
        loop = asyncio.get_running_loop()
        if not self._hangs and not seconds:
            await asyncio.sleep(0)
            return
        pause: asyncio.Future[None] = loop.create_future()
        ends = None if self._hangs else loop.call_later(seconds, _go_on, pause)
        limit = loop.time() + self._config.silence if deadline is None else deadline
        self._pauses.add(pause)
        try:
            async with asyncio.timeout_at(limit):
                await pause
        except TimeoutError:
            raise _late() from None
        finally:
            self._pauses.discard(pause)
            if ends is not None:
                ends.cancel()

    def _said(self, call: BackendCall) -> list[ScriptedAnswer]:
        """What it answers: a choice for each prompt and each `n`."""
        if call.model not in self._models:
            raise NotFound(f"The model server serves no {call.model[:100]!r}.")
        texts = prompts(call.kind, call.body)
        for text in texts:
            if len(words_of(text)) >= self._config.context:
                raise PromptTooLong(f"The prompt has {len(words_of(text))} tokens, the context {self._config.context}.")
        n = max(1, int(call.body.get("n") or 1))
        reply = self._reply(call)
        return [ScriptedAnswer.of(call, text if reply is None else reply) for text in texts for _ in range(n)]

    def _reply(self, call: BackendCall) -> str | None:
        answer = self._script.answer
        reply = self._queued.popleft() if self._queued else answer(call) if callable(answer) else answer
        if isinstance(reply, ColonyError):
            raise reply
        return reply


def _go_on(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)


def _gone() -> Unavailable:
    return Unavailable("The scripted server is gone.")


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("The scripted server gave no answer in time.")
