"""From the configuration to backends and tiers, also where only the section `model` is filled in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from colony.config.gateway import BackendConfig, Tier, TierTarget
from colony.config.model import Config
from colony.ids import Id

TIERS: Final[tuple[Tier, ...]] = ("fast", "standard", "complex")
"""Cheapest first."""

ONLY: Final = Id("default")
"""Name of the backend made of the section `model`."""


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What the gateway fronts."""

    backends: dict[Id, BackendConfig]
    tiers: dict[Tier, tuple[TierTarget, ...]]
    """Every tier, in order of preference; never empty where there is a backend."""
    pooled: bool = False
    """Whether the embedded backend is a pool of models: then its address is that of the pool, not of a model."""


def gateway_plan(config: Config) -> GatewayPlan:
    """The backends and tiers of a configuration; empty when no model is configured."""
    gateway, model = config.gateway, config.model
    pooled = bool(gateway.pool.models)
    if gateway.backends:
        everything = tuple(TierTarget(backend=name) for name in gateway.backends)
        tiers: dict[Tier, tuple[TierTarget, ...]] = {tier: gateway.tiers.get(tier) or everything for tier in TIERS}
        return GatewayPlan(dict(gateway.backends), tiers, pooled)
    if not model.enabled:
        return GatewayPlan({}, {})
    only = BackendConfig(
        kind="openai" if model.url else "embedded",
        urls=(model.url.rstrip("/").removesuffix("/v1"),) if model.url else (),
        key_file=model.key_file,
        slots=model.slots,
        context=model.context,
        timeout=model.timeout,
    )
    tiers = {tier: (TierTarget(backend=ONLY, model=model.names.get(tier, "")),) for tier in TIERS}
    return GatewayPlan({ONLY: only}, tiers, pooled)
