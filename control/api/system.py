"""Routes of templates, the fleet, health and readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from enum import Enum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response

from colony.errors import ColonyError, DeadlineExceeded, Transient
from control.api.models import (
    Check,
    Fleet,
    Health,
    Readiness,
    TemplateAnswer,
    TemplateDetail,
    TemplateName,
    Templates,
)
from control.api.parts import Parts
from control.api.problems import documented
from control.queues import Queues, read_queues
from control.stack.fleet_status import ask_host, one_shard_each, summary
from workflows.startable import startable, startable_named

CHECK_SECONDS: Final = 2.5
"""Longest wait for a server to prove that it answers."""

_VIEW_SECONDS: Final = 2.0


class SystemRoutes:
    """See the paths."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter()
        about: list[str | Enum] = ["templates and fleet"]
        router.add_api_route("/v1/templates", self.templates, methods=["GET"], responses=documented(), tags=about)
        router.add_api_route(
            "/v1/templates/{template}", self.template, methods=["GET"], responses=documented(404), tags=about
        )
        router.add_api_route("/v1/queues", self.queues, methods=["GET"], responses=documented(), tags=about)
        router.add_api_route("/v1/fleet", self.fleet, methods=["GET"], responses=documented(), tags=about)
        public = {"security": list[Any]()}  # probes have no key
        router.add_api_route(
            "/healthz", self.healthz, methods=["GET"], tags=["health"], responses=documented(), openapi_extra=public
        )
        ready: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "Not now"}}
        router.add_api_route(
            "/readyz",
            self.readyz,
            methods=["GET"],
            tags=["health"],
            responses={**documented(), **ready},
            openapi_extra=public,
        )
        return router

    async def templates(self) -> Templates:
        """What a job can be of: templates, the monitor, workflows in code."""
        return Templates(
            items=tuple(
                TemplateAnswer(name=one.name, description=one.description, steps=one.steps)
                for one in startable(self._parts.config).values()
            )
        )

    async def template(self, template: Annotated[TemplateName, Path()]) -> TemplateDetail:
        """One template and all it says."""
        found = startable_named(template, self._parts.config)
        if found.template is None:
            definition: dict[str, Any] = {
                "inputs": {
                    name: one.model_dump(mode="json", exclude_defaults=True) for name, one in found.inputs.items()
                }
            }
        else:
            definition = found.template.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return TemplateDetail(name=found.name, description=found.description, steps=found.steps, definition=definition)

    async def fleet(self) -> Fleet:
        """The fleet in numbers, and its hosts."""
        ledger = self._parts.ledger
        desired, leases, owners = await ledger.agent_counts(), await ledger.leases(), await ledger.shard_owners()
        published = await self._published()
        try:
            messenger = self._parts.messenger.get()
            shards = one_shard_each(owners)
            answers = await asyncio.gather(*(ask_host(messenger, shard) for shard in shards.values()))
        except Transient:
            answers = []
        beats = {beat.incarnation: beat for beat in answers if beat is not None}
        return Fleet(**summary(desired, leases, owners, published, beats))

    async def queues(self) -> Queues:
        """How much waits, by priority and tenant: in task queues, on hosts, for models."""
        try:
            messenger = self._parts.messenger.get()
        except Transient:
            messenger = None  # then hosts cannot tell
        return await read_queues(self._parts.ledger, self._parts.asked, messenger)

    async def _published(self) -> tuple[int, int] | None:
        try:
            async with asyncio.timeout(_VIEW_SECONDS):
                registry = self._parts.registry.get()
                known, passing = await asyncio.gather(registry.counts(failing=True), registry.counts())
        except (ColonyError, TimeoutError):
            return None
        return sum(known.values()), sum(passing.values())

    async def healthz(self) -> Health:
        """This process lives."""
        return Health()

    async def readyz(self, response: Response) -> Readiness:
        """Whether the ledger and the workflow engine answer now; 503 if one does not."""
        ledger, engine = await asyncio.gather(_check(self._parts.ledger.ping()), _check(self._parts.engine.ping()))
        ready = ledger.ok and engine.ok
        if not ready:
            response.status_code = 503
        return Readiness(ready=ready, checks={"ledger": ledger, "temporal": engine})


async def _check(ping: Awaitable[float]) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await ping
    except ColonyError as error:
        return Check(ok=False, error=str(error))
    except TimeoutError:
        return Check(ok=False, error=str(DeadlineExceeded(f"No answer within {CHECK_SECONDS} s.")))
    return Check(ok=True, seconds=round(time.perf_counter() - started, 6))
