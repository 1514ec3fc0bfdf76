"""The models of the embedded backend: the pool says where each is served, calls go straight there.

While calls are under way their model is leased, so that the pool does not unload it; a lease is short, and renewed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from colony.clock import Clock, SystemClock
from colony.errors import ColonyError, DeadlineExceeded, NotFound, Unavailable
from colony.lifecycle import TaskOwner, Vitals, task_owner
from colony.llm.http import http_client
from colony.llm.pool import Lease, PoolModelState
from ray_app.gateway.backends.pool_wire import PoolWire
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel
from ray_app.gateway.ports import Backend

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 5.0
MARGIN_SECONDS: Final = 1.0
"""A lease that ends sooner is no ground to start a call on."""

LOAD_SECONDS: Final = 120.0
CHECK_SECONDS: Final = 30.0

Connect = Callable[[str], AbstractAsyncContextManager[Backend]]
"""Opens the backend for one model's server, given its URL."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Member:
    """One loaded model as this process knows it."""

    name: str
    url: str
    backend: Backend
    close: AsyncExitStack
    leased_until: float
    in_flight: int = 0
    current: bool = True
    """False once its server is gone: no call starts on it any more."""
    renewing: asyncio.Task[None] | None = None


class EmbeddedPoolBackend:
    """All models of the pool as one replica; use through `open_embedded_pool`."""

    def __init__(
        self,
        name: str,
        wire: PoolWire,
        connect: Connect,
        *,
        wanted: Collection[str] = (),
        tasks: TaskOwner,
        clock: Clock,
    ) -> None:
        self._name = name
        self._wanted = wanted
        self._wire = wire
        self._connect = connect
        self._tasks = tasks
        self._clock = clock
        self._holder = f"{name} {uuid.uuid4()}"
        self._members: dict[str, _Member] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`. Loads the model first where it is not; that time is part of the call's."""
        began = self._clock.monotonic()
        async with self._held(call.model, call.seconds) as backend:
            return await backend.answer(self._rest(call, began))

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend` and `answer`."""
        began = self._clock.monotonic()
        async with (
            self._held(call.model, call.seconds) as backend,
            aclosing(backend.stream(self._rest(call, began))) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`. Those wanted, or all models of the pool; loaded or not."""
        state = await self._wire.state()
        return tuple(
            ServedModel(name=model.name, context=model.context, embeddings=model.embeddings, embeds=model.embeds)
            for model in state.models
            if not self._wanted or model.name in self._wanted
        )

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`. Loads the model, which alone can count."""
        async with self._held(model, LOAD_SECONDS) as backend:
            return await backend.prompt_size(kind, model, body)

    async def check(self, model: str) -> None:
        """See `Backend`. A real call where the model is loaded, or could not be; one that is unloaded is well."""
        state = await self._state_of(model)
        if state.state == "failed":
            async with self._held(model, LOAD_SECONDS) as backend:
                await _probe(backend, state)
        elif state.state == "loaded":
            # Without a lease: a look at its health is no use that keeps a model loaded.
            async with self._connect(state.url) as backend:
                await _probe(backend, state)

    async def load(self) -> BackendLoad | None:
        """See `Backend`. What the models in use say, together."""
        members = [member for member in self._members.values() if member.in_flight]
        loads = [load for member in members if (load := await member.backend.load()) is not None]
        if not loads:
            return None
        return BackendLoad(running=sum(load.running for load in loads), waiting=sum(load.waiting for load in loads))

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`. Waits for a critical model, which the pool loads by itself; others are loaded when called."""
        state = await self._state_of(model)
        if state.critical:
            progress("loading", 0.0)
            async with self._held(model, LOAD_SECONDS):
                progress("loaded", 1.0)

    async def aclose(self) -> None:
        """Close the connections. Calls under way break off."""
        members, self._members = list(self._members.values()), {}
        for member in members:
            await member.close.aclose()

    def _rest(self, call: BackendCall, began: float) -> BackendCall:
        left = call.seconds - (self._clock.monotonic() - began)
        return call.model_copy(update={"seconds": max(left, 0.001)})

    async def _state_of(self, model: str) -> PoolModelState:
        for state in (await self._wire.state()).models:
            if state.name == model:
                return state
        raise NotFound(f"The pool has no model {model[:80]!r}.")

    @asynccontextmanager
    async def _held(self, model: str, seconds: float) -> AsyncGenerator[Backend]:
        """The backend of a loaded model that stays loaded for the length of the block."""
        try:
            async with asyncio.timeout(seconds):  # another caller's load of this model may have more time
                member = await self._member(model, seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"The model {model[:80]!r} was not loaded in time.") from None
        member.in_flight += 1
        if member.renewing is None:
            member.renewing = self._tasks.start(self._renew(member), name=f"lease of {model}")
        try:
            yield member.backend
        except Unavailable:
            await self._retire(member)  # its process may be gone: the next call asks the pool again
            raise
        finally:
            member.in_flight -= 1
            if not member.in_flight:
                member.renewing.cancel()
                member.renewing = None
                if not member.current:
                    await member.close.aclose()

    async def _member(self, model: str, seconds: float) -> _Member:
        known = self._members.get(model)
        if known is not None and known.leased_until > self._clock.monotonic() + MARGIN_SECONDS:
            return known
        async with self._asking[model]:
            known = self._members.get(model)
            now = self._clock.monotonic()
            if known is not None and known.leased_until > now + MARGIN_SECONDS:
                return known
            state = await self._wire.load(model, self._lease(), seconds=seconds)
            # Counted from before a touch, from after a load: the pool grants once the model is there.
            if known is not None and known.url == state.url and known.current:
                known.leased_until = now + LEASE_SECONDS
                return known
            if known is not None:
                await self._retire(known)
            return await self._join(model, state.url)

    async def _join(self, model: str, url: str) -> _Member:
        close = AsyncExitStack()
        backend = await close.enter_async_context(self._connect(url))
        until = self._clock.monotonic() + LEASE_SECONDS - MARGIN_SECONDS
        member = self._members[model] = _Member(model, url, backend, close, until)
        return member

    async def _retire(self, member: _Member) -> None:
        """Start no more calls on it; its connections close with the last call."""
        if self._members.get(member.name) is member:
            del self._members[member.name]
        was, member.current = member.current, False
        if was and not member.in_flight:
            await member.close.aclose()

    async def _renew(self, member: _Member) -> None:
        """Keep the lease while calls are under way. When that fails the calls themselves will tell."""
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            now = self._clock.monotonic()
            try:
                await self._wire.touch(member.name, self._lease())
            except ColonyError as error:
                _log.warning("lease not renewed", model=member.name, error=str(error))
            else:
                member.leased_until = now + LEASE_SECONDS

    def _lease(self) -> Lease:
        return Lease(holder=self._holder, seconds=LEASE_SECONDS)


async def _probe(backend: Backend, state: PoolModelState) -> None:
    """A real call. A model's own server does not say that it only embeds: the pool does."""
    if state.embeddings:
        ping = BackendCall(kind=Kind.EMBEDDING, model=state.name, body=Body(input="ping"), seconds=CHECK_SECONDS)
        await backend.answer(ping)
    else:
        await backend.check(state.name)


@asynccontextmanager
async def open_embedded_pool(
    name: str,
    url: str,
    key_file: str,
    connect: Connect,
    *,
    models: Collection[str] = (),
    clock: Clock | None = None,
    vitals: Vitals | None = None,
) -> AsyncGenerator[EmbeddedPoolBackend]:
    """The pool at `url` (of the endpoint `model`), or those of its `models`. Asks nothing until it is used.

    `vitals` is told when a lease is renewed no more because of a fault.

    Raises `NotFound`, `BadInput` for the file of the key.
    """
    async with http_client(url, key_file) as client, task_owner() as tasks:
        if vitals is not None:
            vitals.watch(tasks)
        backend = EmbeddedPoolBackend(
            name, PoolWire(client), connect, wanted=models, tasks=tasks, clock=clock or SystemClock()
        )
        try:
            yield backend
        finally:
            await asyncio.shield(backend.aclose())
