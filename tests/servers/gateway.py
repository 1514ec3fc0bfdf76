"""The whole gateway in this process: HTTP interfaces, path, owner, and the backends of a test behind them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from colony.clock import SystemClock
from colony.config.endpoints import GatewayEndpoint
from colony.config.gateway import BackendConfig, GatewayConfig, LimitsConfig, Tier, TierTarget
from colony.ids import Id
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.calling import Calls
from ray_app.gateway.catalog import open_catalog
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.owner import open_owner
from ray_app.gateway.path import Parts, RequestPath
from ray_app.gateway.plan import TIERS, GatewayPlan
from ray_app.gateway.ports import Backend
from ray_app.gateway.preparing import preparation
from ray_app.gateway.single_flight import single_flight
from ray_app.gateway.usage import usage_book
from tests.servers.gateway_http import KEY, serving


@asynccontextmanager
async def real_gateway(
    folder: Path, script: Script, *, context: int = 2048, slots: int = 4, rate: float = 1000.0
) -> AsyncGenerator[tuple[GatewayEndpoint, ScriptedBackend]]:
    """A gateway in front of one scripted backend called `one`, without a ledger."""
    own = BackendConfig(kind="scripted", slots=slots, context=context)
    tiers: dict[Tier, tuple[TierTarget, ...]] = dict.fromkeys(TIERS, (TierTarget(backend=Id("one")),))
    plan = GatewayPlan({Id("one"): own}, tiers)
    config = GatewayConfig(limits=LimitsConfig(requests_per_second=rate, burst=1000))
    backend = ScriptedBackend("one/0", script, own)
    async with gateway_over(folder, plan, config, {"one": (backend,)}) as endpoint:
        yield endpoint, backend


@asynccontextmanager
async def gateway_over(
    folder: Path, plan: GatewayPlan, config: GatewayConfig, backends: Mapping[str, Sequence[Backend]]
) -> AsyncGenerator[GatewayEndpoint]:
    """A gateway over any backends, without a ledger."""
    clock = SystemClock()
    async with (
        open_owner(plan, config, backends, clock) as owner,
        open_catalog(backends, clock) as catalog,
        answer_cache(config.cache, clock, None) as cache,
        usage_book(None, clock) as usage,
        single_flight() as flights,
        preparation(plan, backends, clock) as preparing,
    ):
        parts = Parts(
            plan=plan,
            catalog=catalog,
            calls=Calls(plan, backends, catalog, owner),
            owner=owner,
            cache=cache,
            flights=flights,
            usage=usage,
            preparation=preparing,
            clock=clock,
            tiers={},
        )
        async with serving(RequestPath(parts)) as url:
            key = folder / "gateway-key"
            key.write_text(KEY)
            yield GatewayEndpoint(url=url, key_file=str(key))
