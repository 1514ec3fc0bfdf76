"""From a request to a backend's answer: where it may go, whether it fits, a grant, the call, one fallback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from colony.config.gateway import BackendConfig
from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    Overloaded,
    Permanent,
    Transient,
    Unavailable,
    Unreachable,
)
from ray_app.gateway.canonical import prefix_hash
from ray_app.gateway.catalog import Catalog
from ray_app.gateway.contracts import Ask, BackendCall, Body, Chunk, Grant, Target, Ticket
from ray_app.gateway.fitting import Fitter, Fitting
from ray_app.gateway.joining import inputs_to_join
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend, Owner
from ray_app.gateway.tiers import cheapest, targets_of
from ray_app.gateway.trail import Trail

T = TypeVar("T")

_log = structlog.get_logger(__name__)

TRIES: Final = 2
"""Calls that are sent for one request, see `Tries`."""

CANCELLED: Final = "cancelled"
"""Outcome of a call that its caller left."""

LOOK_SECONDS: Final = 2.0
"""Longest wait to hear what backends serve, after one did not know a model it had."""


class Calls:
    """Takes requests to backends."""

    def __init__(
        self, plan: GatewayPlan, backends: Mapping[str, Sequence[Backend]], catalog: Catalog, owner: Owner
    ) -> None:
        self._plan = plan
        self._backends = backends
        self._catalog = catalog
        self._owner = owner
        self._replicas = {name: tuple(one.name for one in found) for name, found in backends.items()}
        self._fitter = Fitter(plan, backends, catalog)

    async def answer(self, ask: Ask, trail: Trail) -> Body:
        """The whole answer. Errors as in `Gate`."""

        async def whole(replica: Backend, call: BackendCall) -> Body:
            body = await replica.answer(call)
            trail.used(body.get("usage") or {})  # in here: what it raises must not keep the slot
            return body

        grant, _, body = await self._called(ask, trail, whole)
        await self._release(grant, "ok", trail)
        return body

    async def stream(self, ask: Ask, trail: Trail) -> AsyncGenerator[Chunk]:
        """The pieces of the answer, after one empty piece that says that it has begun.

        What goes wrong before it is raised from the first step of the generator, where an API still has a status to
        answer with. Closing the generator frees the slot.
        """
        grant, call, (first, pieces) = await self._called(ask, trail, _begin)
        try:
            trail.first_piece()
            yield {}
            yield _noted(first, trail)
            async for piece in pieces:
                yield _noted(piece, trail)
        except BaseException as cause:  # noqa: BLE001 -- raised again
            error = _trouble(grant, cause)
            try:
                await pieces.aclose()
            finally:  # also when the caller leaves a second time
                await self._failed(grant, error, call, trail)
            raise error from cause.__cause__
        await self._release(grant, "ok", trail)

    async def _called(
        self, ask: Ask, trail: Trail, work: Callable[[Backend, BackendCall], Awaitable[T]]
    ) -> tuple[Grant, BackendCall, T]:
        """Do `work` on a replica, and elsewhere when that has trouble of its own, or lost its model (see `Tries`).

        The grant of success is still held.
        """
        served = self._catalog.served
        targets = targets_of(ask, self._plan, served)
        fittings = await self._fitter.fit(ask, targets, cheapest(ask, self._plan, served), trail)
        tries = Tries(self._replicas)
        trouble: ColonyError | None = None
        while True:
            try:
                grant, call = await self._granted(ask, fittings, trail, tries.avoid)
            except ColonyError as refusal:
                # There is nobody to fall back to: what the first one said tells the caller more.
                raise trouble or refusal from None
            try:
                done = await work(self._replica(grant), call)
            except BaseException as cause:  # noqa: BLE001 -- raised again
                error = _trouble(grant, cause)
                await self._failed(grant, error, call, trail)
                if not isinstance(error, Transient | NotFound) or not tries.another(grant, error, fittings):
                    raise error from cause.__cause__
                trouble = trouble or error
            else:
                return grant, call, done

    async def _granted(
        self, ask: Ask, fittings: dict[Target, Fitting], trail: Trail, avoid: tuple[str, ...]
    ) -> tuple[Grant, BackendCall]:
        """A slot where the request fits. Where that was not known it is counted now, and goes on if it does not."""
        again = False
        while True:
            grant = await self._acquired(ask, fittings, trail, avoid, again=again)
            trail.granted(grant)
            fitting = fittings[grant.target]
            if not fitting.known:
                try:
                    fitting = await self._fitter.count(ask, fitting, self._replica(grant), trail)
                except BaseException as cause:
                    await self._release(grant, _outcome(cause), trail)
                    del fittings[grant.target]
                    left = fittings.keys() & set(targets_of(ask, self._plan, self._catalog.served))
                    if not isinstance(cause, Permanent) or not left:
                        raise
                    again = True
                    continue
                fittings[grant.target] = fitting
            seconds = min(self._config(grant.target.backend).timeout, max(trail.left, 0.001))
            model, trace = grant.target.model, ask.caller.trace
            return grant, BackendCall(kind=ask.kind, model=model, body=fitting.body, seconds=seconds, trace=trace)

    async def _acquired(
        self, ask: Ask, fittings: Mapping[Target, Fitting], trail: Trail, avoid: tuple[str, ...], *, again: bool
    ) -> Grant:
        if trail.left <= 0:
            raise _late(ask)
        served = self._catalog.served
        targets = tuple(target for target in targets_of(ask, self._plan, served) if target in fittings)
        cheaper = tuple(target for target in cheapest(ask, self._plan, served) if target in fittings)
        return await self._owner.acquire(
            Ticket(
                request_id=ask.request_id,
                caller=ask.caller,
                kind=ask.kind,
                targets=targets or tuple(fittings),
                cheaper=cheaper,
                priority=ask.priority,
                tokens=max(fitting.tokens for fitting in fittings.values()),
                prefix=prefix_hash(ask),
                seconds=trail.left,
                avoid=avoid,
                again=again,
                joins=inputs_to_join(ask.kind, ask.body),
            )
        )

    async def _failed(self, grant: Grant, error: BaseException, call: BackendCall, trail: Trail) -> None:
        outcome = _outcome(error)
        config = self._config(grant.target.backend)
        short = call.seconds < config.timeout and trail.called_seconds < config.silence
        if isinstance(error, DeadlineExceeded) and short:
            outcome = CANCELLED  # the caller was in more of a hurry than the backend ever promised to be
        wait = (error.retry_after or 0.0) if isinstance(error, Overloaded) else 0.0
        await self._release(grant, outcome, trail, wait)
        if isinstance(error, Unreachable):
            self._fitter.failed(grant.replica, trail)
        if isinstance(error, NotFound):
            with suppress(TimeoutError):  # a backend that hangs must not cost others the time of this request
                async with asyncio.timeout(min(LOOK_SECONDS, max(trail.left, 0.0))):
                    await self._catalog.refresh()

    async def _release(self, grant: Grant, outcome: str, trail: Trail, retry_after: float = 0.0) -> None:
        """Tell the owner, also while this task is being cancelled: a slot kept is lost until its lease ends."""
        await asyncio.shield(asyncio.ensure_future(self._owner.release(trail.ended(grant, outcome, retry_after))))

    def _replica(self, grant: Grant) -> Backend:
        return next(replica for replica in self._backends[grant.target.backend] if replica.name == grant.replica)

    def _config(self, backend: str) -> BackendConfig:
        return next(config for name, config in self._plan.backends.items() if name == backend)


class Tries:
    """Where one request has been, and where it may still go.

    It is sent twice, the call and one fallback before its first piece; a third time only where both went to one
    backend and another has not been asked. What could not be sent at all costs nothing.
    """

    def __init__(self, replicas: Mapping[str, Sequence[str]]) -> None:
        """`replicas`: those of every backend."""
        self._replicas = replicas
        self._sent: list[str] = []
        self.avoid: tuple[str, ...] = ()
        """Replicas it must not go to again."""

    def another(self, grant: Grant, error: BaseException, targets: Iterable[Target]) -> bool:
        """Whether it may go to another of `targets` after a call has failed."""
        self.avoid += (grant.replica,)
        if isinstance(error, Unreachable):
            return True
        backend = grant.target.backend
        self._sent.append(backend)
        if len(self._sent) < TRIES:
            return True
        if self._sent != [backend] * TRIES or all(target.backend == backend for target in targets):
            return False
        self.avoid = tuple(dict.fromkeys((*self.avoid, *self._replicas[backend])))
        return True


def _outcome(error: BaseException) -> str:
    return type(error).__name__ if isinstance(error, ColonyError) else CANCELLED


def _trouble(grant: Grant, error: BaseException) -> BaseException:
    """The error of a call as callers may hear it. That our key is refused is no refusal of theirs: others may answer.

    What the server said of the key goes to the log only.
    """
    if not isinstance(error, NotPermitted):
        return error
    _log.warning("backend refuses our key", replica=grant.replica, error=str(error))
    return Unavailable(
        f"The backend {grant.target.backend!r} refuses the key of this gateway.",
        remedy="Whoever runs the gateway checks key_file of that backend in agent_config.yaml.",
    )


def _late(ask: Ask) -> DeadlineExceeded:
    return DeadlineExceeded(f"The request had {ask.seconds:g} s, and they are over.")


async def _begin(replica: Backend, call: BackendCall) -> tuple[Chunk, AsyncGenerator[Chunk]]:
    """The first piece of a stream, and the rest of it."""
    pieces = replica.stream(call)
    try:
        first = await anext(pieces, None)
    except BaseException:
        await pieces.aclose()
        raise
    if first is None:
        raise Unavailable("The model server ended its answer before it began.")
    return first, pieces


def _noted(piece: Chunk, trail: Trail) -> Chunk:
    usage = piece.get("usage")
    if usage:
        trail.used(usage)
    return piece
