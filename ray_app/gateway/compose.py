"""The gateway put together: from the data directory of a stack to a gate that answers. No Ray in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from colony.clock import Clock, SystemClock
from colony.config.endpoints import Endpoints, read_endpoints, read_secret
from colony.config.load import load_config
from colony.config.model import Config
from colony.errors import BadInput, Transient
from colony.ledger.llm import LlmLedger
from colony.ledger.postgres import PostgresLedger, open_ledger
from colony.lifecycle import Vitals
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.backends.open import open_backends
from ray_app.gateway.budget_recovery import RecoveringOwner
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.calling import Calls
from ray_app.gateway.catalog import open_catalog
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.owner import open_owner
from ray_app.gateway.path import Parts, RequestPath
from ray_app.gateway.plan import GatewayPlan, gateway_plan
from ray_app.gateway.ports import Backend, Gate, Owner
from ray_app.gateway.preparing import preparation
from ray_app.gateway.single_flight import single_flight
from ray_app.gateway.usage import usage_book

LEDGER_CONNECTIONS: Final = 2
LEDGER_SECONDS: Final = 30.0
"""Longest wait for Postgres at the start."""

Backends = Mapping[str, Sequence[Backend]]
Joined = Callable[[Backends], Backends]
"""Puts something around the backends, for instance the forming of batches."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a gateway runs in."""

    endpoints: Endpoints
    config: Config
    plan: GatewayPlan

    @property
    def agent_tiers(self) -> dict[str, str]:
        """Agent type -> tier of its calls."""
        return {str(name): found.tier for name, found in self.config.fleet.types.items()}

    @property
    def api(self) -> ApiSettings:
        """For the HTTP interfaces. Raises `NotFound` when the key file is missing, `BadInput` without a gateway."""
        gateway = self.endpoints.gateway
        limit = self.config.gateway.max_body_mb * 1024 * 1024
        if gateway is None:
            raise BadInput("The stack's addresses name no gateway.", remedy="Run `colony down`, then `colony up`.")
        return ApiSettings(
            key=read_secret(gateway.key_file),
            hosts=frozenset({urlsplit(gateway.url).hostname or ""}),
            max_body=limit,
            behind_serve=True,
        )


def read_setting(home: Path) -> Setting:
    """Addresses and configuration of the stack in `home`. Raises `NotFound`, `BadInput`, `ConfigInvalid`."""
    endpoints = read_endpoints(home)
    config = load_config(Path(endpoints.config_file) if endpoints.config_file else None).config
    return Setting(endpoints, config, gateway_plan(config))


@asynccontextmanager
async def open_gate(
    setting: Setting,
    vitals: Vitals,
    *,
    owner: Owner | None = None,
    joined: Joined = lambda found: found,
    clock: Clock | None = None,
) -> AsyncGenerator[Gate]:
    """A gate over everything configured. With `owner` the queues are elsewhere; else they are in this process.

    `vitals` is told of what works in the background. Raises `Unavailable` when the ledger does not answer within 30 s;
    backends may be away.
    """
    clock = clock or SystemClock()
    config = setting.config.gateway
    async with AsyncExitStack() as stack:
        ledger = await _ledger(stack, setting)
        backends = joined(
            await stack.enter_async_context(open_backends(setting.plan, setting.endpoints, vitals=vitals))
        )
        if owner is None:
            owner = await stack.enter_async_context(open_local_owner(setting, backends, ledger, clock, vitals))
        catalog = await stack.enter_async_context(open_catalog(backends, clock, vitals=vitals))
        cache = await stack.enter_async_context(answer_cache(config.cache, clock, ledger, vitals=vitals))
        usage = await stack.enter_async_context(usage_book(ledger, clock, vitals=vitals))
        flights = await stack.enter_async_context(single_flight())
        preparing = await stack.enter_async_context(preparation(setting.plan, backends, clock, vitals=vitals))
        yield RequestPath(
            Parts(
                plan=setting.plan,
                catalog=catalog,
                calls=Calls(setting.plan, backends, catalog, owner),
                owner=owner,
                cache=cache,
                flights=flights,
                usage=usage,
                preparation=preparing,
                clock=clock,
                tiers=setting.agent_tiers,
            )
        )


@asynccontextmanager
async def open_local_owner(
    setting: Setting, backends: Backends, ledger: LlmLedger, clock: Clock, vitals: Vitals
) -> AsyncGenerator[Owner]:
    """Queues, limits and breakers in this process, with what jobs have used so far from the ledger."""
    budgets = Budgets(setting.config.gateway.limits)
    async with (
        single_flight() as flights,
        open_owner(setting.plan, setting.config.gateway, backends, clock, budgets=budgets, vitals=vitals) as owner,
    ):
        yield RecoveringOwner(owner, budgets, ledger, clock, flights)


@asynccontextmanager
async def open_owner_alone(setting: Setting, vitals: Vitals) -> AsyncGenerator[Owner]:
    """The owner for several replicas of the gateway, in a process without any of them."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        ledger = await _ledger(stack, setting)
        backends = await stack.enter_async_context(open_backends(setting.plan, setting.endpoints, vitals=vitals))
        yield await stack.enter_async_context(open_local_owner(setting, backends, ledger, clock, vitals))


async def _ledger(stack: AsyncExitStack, setting: Setting) -> PostgresLedger:
    deadline = asyncio.get_running_loop().time() + LEDGER_SECONDS
    while True:
        try:
            return await stack.enter_async_context(
                open_ledger(setting.endpoints.postgres, pool_size=LEDGER_CONNECTIONS, name="gateway")
            )
        except Transient as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _log.info("waiting", what="postgres", error=str(error))
        await asyncio.sleep(0.5)
