"""Whether a request fits the models it may go to: by its bound where that says it, else by a count of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from colony.config.gateway import BackendConfig
from colony.errors import NotFound, NotPermitted, Permanent, PromptTooLong, Transient
from ray_app.gateway.catalog import Catalog
from ray_app.gateway.contracts import Ask, Body, Target
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend
from ray_app.gateway.sizes import answer_tokens, fitted, most_tokens, reserved_tokens
from ray_app.gateway.tiers import model_of
from ray_app.gateway.trail import Trail

_log = structlog.get_logger(__name__)

BYTES_A_TOKEN: Final = 3
"""For a guess where nobody counted: quotas are corrected after the call."""

COUNT_SECONDS: Final = 1.0
"""Longest wait for a count. Without one the server is asked as it is, and refuses what is too long itself."""

REST_SECONDS: Final = 5.0
"""A replica that failed is asked for no count for so long."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """A request as it goes to one target."""

    target: Target
    body: Body
    tokens: int
    """What it may use in all."""
    known: bool
    """Whether it fits; else it is counted where it is granted."""


class Fitter:
    """Fits requests to targets. Remembers which replicas failed of late: they are not asked to count."""

    def __init__(self, plan: GatewayPlan, backends: Mapping[str, Sequence[Backend]], catalog: Catalog) -> None:
        self._configs: Mapping[str, BackendConfig] = {str(name): config for name, config in plan.backends.items()}
        self._backends = backends
        self._catalog = catalog
        self._rests: dict[str, float] = {}
        """Replica -> monotonic time until which it is not asked."""

    async def fit(
        self, ask: Ask, targets: Sequence[Target], cheaper: Iterable[Target], trail: Trail
    ) -> dict[Target, Fitting]:
        """Every target that the request fits or may fit, in order.

        Counted is up to the first that it fits, all others only where they are granted. Raises `PromptTooLong` when it
        fits none of `targets`, and what the first of them says of a request that is wrong.
        """
        most = most_tokens(ask.kind, ask.body)
        found: dict[Target, Fitting] = {}
        refused: Permanent | None = None
        for target in targets:
            context = self._context(ask, target)
            if _surely_fits(ask, most, context) or (found and _may_fit(ask, context)):
                found[target] = _guessed(ask, target, most, context)
            elif not found:
                try:
                    found[target] = await self._counted(ask, target, self._backends[target.backend], most, trail)
                except Permanent as error:
                    if refused is None and not isinstance(error, PromptTooLong):
                        raise
                    refused = refused or error
        if not found:
            raise refused or NotFound("No model fits this request.")
        for target in cheaper:
            context = self._context(ask, target)
            if target not in targets and _may_fit(ask, context):
                found[target] = _guessed(ask, target, most, context)
        return found

    async def count(self, ask: Ask, fitting: Fitting, replica: Backend, trail: Trail) -> Fitting:
        """The same with a count by the replica that was granted. Raises `PromptTooLong`, and what the replica says."""
        return await self._counted(ask, fitting.target, (replica,), most_tokens(ask.kind, ask.body), trail)

    def failed(self, replica: str, trail: Trail) -> None:
        """A replica had trouble: for a while it is not asked to count."""
        self._rests[replica] = trail.now + REST_SECONDS

    async def _counted(self, ask: Ask, target: Target, replicas: Sequence[Backend], most: int, trail: Trail) -> Fitting:
        context = self._context(ask, target)
        prompt = await self._count(ask, target, replicas, trail)
        if prompt is None:
            guess = _guessed(ask, target, most, context)
            return Fitting(target, guess.body, guess.tokens, known=True)  # asked once is enough
        body = fitted(ask.kind, ask.body, prompt, model=target.model, context=context)
        return Fitting(target, body, reserved_tokens(ask.kind, body, prompt, context), known=True)

    async def _count(self, ask: Ask, target: Target, replicas: Sequence[Backend], trail: Trail) -> int | None:
        """Tokens of the prompt as the first replica that answers counts them; None when none does in time."""
        asked, seconds = "", min(COUNT_SECONDS, max(0.0, trail.left))
        with trail.doing("count", f"a count of its tokens by {target.backend}"):
            try:
                async with asyncio.timeout(seconds):
                    for replica in replicas:
                        if trail.now < self._rests.get(replica.name, 0.0):
                            continue
                        asked = replica.name
                        try:
                            return (await replica.prompt_size(ask.kind, target.model, ask.body)).tokens
                        except Transient as error:
                            self.failed(asked, trail)
                            _log.info("no token count", replica=asked, error=str(error))
                        except (NotFound, NotPermitted) as error:
                            _log.info("no token count", replica=asked, error=str(error))
            except TimeoutError:
                if asked and seconds == COUNT_SECONDS:  # else the caller had no time: that says nothing of the replica
                    self.failed(asked, trail)
                _log.info("no token count", replica=asked, error=f"silent for {seconds:g} s")
        return None

    def _context(self, ask: Ask, target: Target) -> int:
        model = model_of(target, self._catalog.served)
        return self._configs[target.backend].context if model is None else model.length(ask.kind)


def _surely_fits(ask: Ask, most: int, context: int) -> bool:
    return most + (answer_tokens(ask.body) or 1) <= context


def _may_fit(ask: Ask, context: int) -> bool:
    return (answer_tokens(ask.body) or 1) <= context


def _guessed(ask: Ask, target: Target, most: int, context: int) -> Fitting:
    """By its bound. An answer is shortened to what the guess leaves; no prompt is refused for a guess."""
    guess, body, known = most // BYTES_A_TOKEN, ask.body, _surely_fits(ask, most, context)
    if not known and guess < context:
        body = fitted(ask.kind, ask.body, guess, model=target.model, context=context)
    return Fitting(target, body, reserved_tokens(ask.kind, body, guess, context), known)
