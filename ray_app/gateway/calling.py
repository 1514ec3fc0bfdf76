"""From a request to a backend's answer: where it may go, whether it fits, a grant, the call, one fallback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from colony.config.gateway import BackendConfig
from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    Transient,
    Unavailable,
)
from ray_app.gateway.canonical import prefix_hash
from ray_app.gateway.catalog import Catalog
from ray_app.gateway.contracts import Ask, BackendCall, Body, Chunk, Grant, Target, Ticket
from ray_app.gateway.joining import joinable
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend, Owner
from ray_app.gateway.sizes import answer_tokens, fitted, most_tokens, reserved_tokens
from ray_app.gateway.tiers import cheapest, model_of, targets_of
from ray_app.gateway.trail import Trail

T = TypeVar("T")

_log = structlog.get_logger(__name__)

TRIES: Final = 2
"""The call, and one fallback before its first piece."""

BYTES_A_TOKEN: Final = 3
"""For a guess where nobody counted: quotas are corrected after the call."""

CANCELLED: Final = "cancelled"
"""Outcome of a call that its caller left."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """A request as it goes to one target."""

    target: Target
    body: Body
    tokens: int
    """What it may use in all."""


class Calls:
    """Takes requests to backends. Holds nothing between two requests."""

    def __init__(
        self, plan: GatewayPlan, backends: Mapping[str, Sequence[Backend]], catalog: Catalog, owner: Owner
    ) -> None:
        self._plan = plan
        self._backends = backends
        self._catalog = catalog
        self._owner = owner

    async def answer(self, ask: Ask, trail: Trail) -> Body:
        """The whole answer. Errors as in `Gate`."""

        async def whole(replica: Backend, call: BackendCall) -> Body:
            return await replica.answer(call)

        grant, _, body = await self._called(ask, trail, whole)
        trail.used(body.get("usage") or {})
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
            await pieces.aclose()
            await self._failed(grant, error, call, trail)
            raise error from cause.__cause__
        await self._release(grant, "ok", trail)

    async def _called(
        self, ask: Ask, trail: Trail, work: Callable[[Backend, BackendCall], Awaitable[T]]
    ) -> tuple[Grant, BackendCall, T]:
        """Do `work` on a replica, and once elsewhere when that has trouble of its own, or lost its model.

        The grant of success is still held.
        """
        fittings = await self._fittings(ask, trail)
        avoid: tuple[str, ...] = ()
        trouble: ColonyError | None = None
        while True:
            try:
                grant, call = await self._granted(ask, fittings, trail, avoid)
            except ColonyError as refusal:
                # There is nobody to fall back to: what the first one said tells the caller more.
                raise trouble or refusal from None
            try:
                done = await work(self._replica(grant), call)
            except BaseException as cause:  # noqa: BLE001 -- raised again
                error = _trouble(grant, cause)
                await self._failed(grant, error, call, trail)
                avoid += (grant.replica,)
                if len(avoid) == TRIES or not isinstance(error, Transient | NotFound):
                    raise error from cause.__cause__
                trouble = trouble or error
            else:
                return grant, call, done

    async def _fittings(self, ask: Ask, trail: Trail) -> dict[Target, Fitting]:
        """Every target that the request fits, in order. Raises `PromptTooLong` when it fits none."""
        served = self._catalog.served
        targets = targets_of(ask, self._plan, served)
        found: dict[Target, Fitting] = {}
        refused: PromptTooLong | None = None
        for target in dict.fromkeys((*targets, *cheapest(ask, self._plan, served))):
            try:
                found[target] = await self._fit(ask, target, trail)
            except PromptTooLong as error:
                refused = refused or error
        if not any(target in found for target in targets):
            raise refused or NotFound("No model fits this request.")
        return found

    async def _fit(self, ask: Ask, target: Target, trail: Trail) -> Fitting:
        model = model_of(target, self._catalog.served)
        context = self._config(target.backend).context if model is None else model.length(ask.kind)
        most = most_tokens(ask.kind, ask.body)
        prompt = most // BYTES_A_TOKEN
        body = ask.body
        if most + (answer_tokens(ask.body) or 1) > context:
            prompt = await self._counted(ask, target, trail) or prompt
            body = fitted(ask.kind, ask.body, prompt, model=target.model, context=context)
        tokens = reserved_tokens(ask.kind, body, prompt, context)
        return Fitting(target, body, tokens)

    async def _counted(self, ask: Ask, target: Target, trail: Trail) -> int:
        """Tokens of the prompt as the first replica that answers counts them; 0 when none does."""
        for replica in self._backends[target.backend]:
            try:
                async with asyncio.timeout(max(0.0, trail.left)):
                    return (await replica.prompt_size(ask.kind, target.model, ask.body)).tokens
            except TimeoutError:
                raise _late(ask) from None
            except (Transient, NotFound, NotPermitted) as error:
                _log.info("no token count", replica=replica.name, error=str(error))
        return 0

    async def _granted(
        self, ask: Ask, fittings: Mapping[Target, Fitting], trail: Trail, avoid: tuple[str, ...]
    ) -> tuple[Grant, BackendCall]:
        if trail.left <= 0:
            raise _late(ask)
        served = self._catalog.served
        targets = tuple(target for target in targets_of(ask, self._plan, served) if target in fittings)
        cheaper = tuple(target for target in cheapest(ask, self._plan, served) if target in fittings)
        grant = await self._owner.acquire(
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
                joins=joinable(ask.kind, ask.body),
            )
        )
        trail.granted(grant)
        seconds = min(self._config(grant.target.backend).timeout, max(trail.left, 0.001))
        body = fittings[grant.target].body
        call = BackendCall(kind=ask.kind, model=grant.target.model, body=body, seconds=seconds, trace=ask.caller.trace)
        return grant, call

    async def _failed(self, grant: Grant, error: BaseException, call: BackendCall, trail: Trail) -> None:
        outcome = type(error).__name__ if isinstance(error, ColonyError) else CANCELLED
        config = self._config(grant.target.backend)
        short = call.seconds < config.timeout and trail.called_seconds < config.silence
        if isinstance(error, DeadlineExceeded) and short:
            outcome = CANCELLED  # the caller was in more of a hurry than the backend ever promised to be
        wait = (error.retry_after or 0.0) if isinstance(error, Overloaded) else 0.0
        await self._release(grant, outcome, trail, wait)
        if isinstance(error, NotFound):
            await self._catalog.refresh()

    async def _release(self, grant: Grant, outcome: str, trail: Trail, retry_after: float = 0.0) -> None:
        """Tell the owner, also while this task is being cancelled: a slot kept is lost until its lease ends."""
        await asyncio.shield(asyncio.ensure_future(self._owner.release(trail.ended(grant, outcome, retry_after))))

    def _replica(self, grant: Grant) -> Backend:
        return next(replica for replica in self._backends[grant.target.backend] if replica.name == grant.replica)

    def _config(self, backend: str) -> BackendConfig:
        return next(config for name, config in self._plan.backends.items() if name == backend)


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
