"""The way of one request behind every API: tier, cache, single flight, call, record. Implements `Gate`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from colony.clock import Clock
from colony.errors import BudgetSpent, ColonyError, DeadlineExceeded, NotFound, Overloaded
from ray_app.gateway.assembly import Assembly
from ray_app.gateway.cache import AnswerCache, KeptAnswer
from ray_app.gateway.calling import CANCELLED, Calls
from ray_app.gateway.canonical import cache_key, may_be_cached
from ray_app.gateway.catalog import Catalog
from ray_app.gateway.contracts import Answered, Ask, Body, Caller, Chunk, Kind, ServedModel
from ray_app.gateway.plan import TIERS, GatewayPlan
from ray_app.gateway.ports import Owner, Streamed
from ray_app.gateway.preparing import Preparation
from ray_app.gateway.replay import replayed
from ray_app.gateway.single_flight import Emit, Flight, SingleFlight
from ray_app.gateway.tiers import model_of, targets_of
from ray_app.gateway.trail import Trail
from ray_app.gateway.under_way import UnderWay
from ray_app.gateway.usage import UsageBook

OWN_TROUBLE: Final = (Overloaded, BudgetSpent, DeadlineExceeded)
"""Errors that speak of one caller (its rate, its budget, its hurry), not of the request that several share."""

LONGEST_KEPT: Final = 8_000_000
"""Letters of a streamed answer that are put together for those who wait for the whole of it."""


GRACE: Final = 0.5
"""Seconds by which a call that is the caller's own may report its end late before the wait for it is given up."""


class Key(NamedTuple):
    """What an answer is kept under."""

    key: bytes
    model: str
    """Only this model's answer is kept: not that of a fallback, nor of the cheaper one of a job without tokens."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gate is made of."""

    plan: GatewayPlan
    catalog: Catalog
    calls: Calls
    owner: Owner
    cache: AnswerCache
    flights: SingleFlight[Body]
    usage: UsageBook
    preparation: Preparation
    clock: Clock
    tiers: Mapping[str, str]
    """Agent type -> tier of its calls that name none."""


class RequestPath:
    """See `Gate`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._under_way = UnderWay()

    async def answer(self, ask: Ask) -> Answered:
        """See `Gate`."""
        ask = self._with_tier(ask)
        trail, outcome = Trail(ask, self._parts.clock), CANCELLED
        self._under_way.begin(trail)
        try:
            body = await self._whole(ask, trail)
            outcome = "ok"
        except ColonyError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._under_way.end(trail)
            record = trail.record(outcome)
            self._parts.usage.record(record)
        return Answered(body=body, record=record)

    async def open(self, ask: Ask) -> Streamed:
        """See `Gate`."""
        ask = self._with_tier(ask)
        trail = Trail(ask, self._parts.clock)
        pieces = self._pieces(ask, trail)
        await anext(pieces)  # the empty piece that says that the answer has begun: by then its call is granted
        return Streamed(pieces, trail.backend, trail.cache)

    async def models(self) -> Sequence[ServedModel]:
        """See `Gate`."""
        served = self._parts.catalog.served
        found = {model.name: model for models in served.values() for model in models}
        for tier in TIERS:
            known = self._of_tier(tier)
            if known is not None and tier not in found:
                found[tier] = known.model_copy(update={"name": tier})
        return list(found.values())

    async def state(self) -> dict[str, Any]:
        """See `Gate`."""
        served = self._parts.catalog.served
        return {
            **await self._parts.owner.state(),
            "usage": self._parts.usage.state(),
            "models": {backend: [model.model_dump() for model in models] for backend, models in served.items()},
            "preparing": self._parts.preparation.state(),
            "cache": {**self._parts.cache.state(), "shared": self._parts.flights.joined},
        }

    async def why(self, request_id: str) -> dict[str, Any]:
        """See `Gate`. Also knows what waits outside the queues: for another's answer, a count, the ledger.

        Of that it knows only the requests of this process.
        """
        here = self._under_way.why(request_id)
        if here is not None and here["waits_for"]:
            return here
        try:
            return await self._parts.owner.why(request_id)
        except NotFound:
            if here is None:
                raise
            return here

    async def drain(self, replica: str, on: bool) -> None:
        """See `Gate`."""
        await self._parts.owner.drain(replica, on)

    async def _whole(self, ask: Ask, trail: Trail) -> Body:
        key = self._key(ask)
        if key is None:
            return await self._parts.calls.answer(ask, trail)
        kept = await self._kept(key, trail)
        if kept is not None:
            trail.cache = "hit"
            return kept.body(ask.request_id)

        async def work() -> Body:
            with self._under_way.leading(trail, key.key):
                body = await self._parts.calls.answer(ask, trail)
            self._keep(key, body, trail)
            return body

        trail.joins = key.key
        try:
            # Whoever joins another's call has less time, perhaps, than that call.
            async with asyncio.timeout(max(0.0, trail.left) + GRACE):
                body, shared = await self._parts.flights.run(key.key, work, own=OWN_TROUBLE)
        except TimeoutError:
            raise _late(ask) from None
        if not shared:
            return body
        trail.cache = "shared"
        return {**body, "id": ask.request_id}

    async def _pieces(self, ask: Ask, trail: Trail) -> AsyncGenerator[Chunk]:
        outcome = CANCELLED
        self._under_way.begin(trail)
        try:
            key = self._key(ask)
            kept = None if key is None else await self._kept(key, trail)
            if kept is not None:
                trail.cache = "hit"
                yield {}
                for piece in replayed(kept.body(ask.request_id)):
                    yield piece
            elif key is None:
                async with aclosing(self._parts.calls.stream(ask, trail)) as source:
                    async for piece in source:
                        yield piece
            else:
                async with aclosing(self._shared_pieces(ask, key, trail)) as source:
                    async for piece in source:
                        yield piece
            outcome = "ok"
        except ColonyError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._under_way.end(trail)
            self._parts.usage.record(trail.record(outcome))

    async def _shared_pieces(self, ask: Ask, key: Key, trail: Trail) -> AsyncGenerator[Chunk]:
        """The empty piece, then the pieces: those of a request under way where there is one."""

        async def work(emit: Emit) -> Body:
            with self._under_way.leading(trail, key.key):
                return await self._collected(ask, key, trail, emit)

        trail.joins = key.key
        while True:
            with self._parts.flights.join(key.key, work) as (flight, shared):
                source = _in_time(_in_pieces(flight), trail) if shared else _in_pieces(flight)
                try:
                    first = await anext(source)
                except OWN_TROUBLE:
                    if not shared or trail.left <= 0:
                        raise
                    continue
                async with aclosing(source):
                    trail.cache = "shared" if shared else "miss"
                    yield first
                    async for piece in source:
                        yield piece
                return

    async def _collected(self, ask: Ask, key: Key, trail: Trail, emit: Emit) -> Body:
        """Stream the answer to all who wait, and keep the whole of it."""
        assembly = Assembly(LONGEST_KEPT)
        async with aclosing(self._parts.calls.stream(ask, trail)) as source:
            async for piece in source:
                assembly.add(piece)
                emit(piece)
        whole = assembly.whole()
        if whole is None:
            return {}
        self._keep(key, whole, trail)
        return whole

    def _keep(self, key: Key, body: Body, trail: Trail) -> None:
        if trail.model == key.model:
            self._parts.cache.put(key.key, KeptAnswer.of(body))

    async def _kept(self, key: Key, trail: Trail) -> KeptAnswer | None:
        """What memory has, else what the ledger has; nobody looks there for what is under way already."""
        cache = self._parts.cache
        shared = self._parts.flights.under_way(key.key)
        kept = cache.get(key.key, last=shared)
        if kept is not None or shared:
            return kept
        with trail.doing("cache", "the ledger, which may have an answer kept"):
            return await cache.recall(key.key)

    def _key(self, ask: Ask) -> Key | None:
        """What the answer is kept under; None where it must not be shared."""
        if not self._parts.cache.enabled or not may_be_cached(ask) or ask.body.get("logprobs"):
            return None
        try:
            model = targets_of(ask, self._parts.plan, self._parts.catalog.served)[0].model
        except ColonyError:
            return None  # nobody to ask: the call says why
        return Key(cache_key(ask, model), model)

    def _with_tier(self, ask: Ask) -> Ask:
        tier = self._parts.tiers.get(ask.caller.agent_type, "")
        return ask if ask.tier or ask.model or not tier else ask.model_copy(update={"tier": tier})

    def _of_tier(self, tier: str) -> ServedModel | None:
        try:
            targets = targets_of(_asking(tier), self._parts.plan, self._parts.catalog.served)
        except ColonyError:
            return None
        return model_of(targets[0], self._parts.catalog.served)


async def _in_pieces(flight: Flight[Body]) -> AsyncGenerator[Chunk]:
    """The pieces of a flight, the empty one first; of one that does not stream, its answer replayed."""
    async with aclosing(flight.pieces()) as source:
        async for piece in source:
            yield piece
    if not flight.streams:
        yield {}
        for piece in replayed(await flight.result()):
            yield piece


async def _in_time(source: AsyncGenerator[Chunk], trail: Trail) -> AsyncGenerator[Chunk]:
    """The pieces of another's call, for as long as this caller has time. Raises `DeadlineExceeded`."""
    async with aclosing(source):
        while True:
            try:
                async with asyncio.timeout(max(0.0, trail.left)):
                    piece = await anext(source, None)
            except TimeoutError:
                raise _late(trail.ask) from None
            if piece is None:
                return
            yield piece


def _late(ask: Ask) -> DeadlineExceeded:
    return DeadlineExceeded(f"The request had {ask.seconds:g} s, and they are over.")


def _asking(tier: str) -> Ask:
    return Ask(request_id="", kind=Kind.CHAT, caller=Caller(), tier=tier, body={})
