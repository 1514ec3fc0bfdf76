"""From what a request names to the models it may go to, best first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from colony.config.gateway import BackendKind
from colony.errors import ModelRefused, NotFound, Unavailable
from ray_app.gateway.contracts import Ask, Kind, ServedModel, Target
from ray_app.gateway.plan import TIERS, GatewayPlan

Served = Mapping[str, Sequence[ServedModel]]
"""Backend -> what it said it serves; a backend that never answered is missing."""

CLASSIFYING: Final[tuple[BackendKind, ...]] = ("vllm", "scripted")
"""Kinds of backend that may classify."""


def targets_of(ask: Ask, plan: GatewayPlan, served: Served) -> tuple[Target, ...]:
    """Where `ask` may go, in order of preference.

    Raises `NotFound` for a model that nobody serves, `ModelRefused` for what its backend never does, `Unavailable` when
    nothing is known of any backend yet.
    """
    tier = ask.model if ask.model in TIERS else ask.tier or TIERS[0]
    found = tuple(
        _of_tier(tier, ask.kind, plan, served)
        if not ask.model or ask.model in TIERS
        else _of_model(ask.model, plan, served)
    )
    able = tuple(target for target in found if _able(target, ask.kind, plan))
    if able:
        return able
    if found:
        raise ModelRefused(
            f"The backend {found[0].backend!r} does not classify.",
            remedy=f"Name a model of a backend of kind {' or '.join(CLASSIFYING)}.",
        )
    if not plan.backends:
        raise NotFound("No language model is configured.", remedy="Set model.enabled in agent_config.yaml.")
    if len(served) < len(plan.backends):
        raise Unavailable("No backend has told its models yet.", remedy="See `colony llm`.")
    wanted = f"the model {ask.model[:100]!r}" if ask.model else f"a model for {ask.kind.value} in the tier {tier!r}"
    raise NotFound(f"Nobody serves {wanted}.", remedy=f"There is {', '.join(sorted(names(served))[:8]) or 'none'}.")


def cheapest(ask: Ask, plan: GatewayPlan, served: Served) -> tuple[Target, ...]:
    """Where `ask` may go when only the cheapest tier is left to it; empty when that serves no model of its kind."""
    return tuple(target for target in _of_tier(TIERS[0], ask.kind, plan, served) if _able(target, ask.kind, plan))


def names(served: Served) -> set[str]:
    """Every model by its name."""
    return {model.name for models in served.values() for model in models}


def model_of(target: Target, served: Served) -> ServedModel | None:
    """What is known of a target's model."""
    return next((model for model in served.get(target.backend, ()) if model.name == target.model), None)


def _able(target: Target, kind: Kind, plan: GatewayPlan) -> bool:
    """Whether servers of that sort do such a thing at all."""
    if kind is not Kind.CLASSIFICATION:
        return True
    return any(config.kind in CLASSIFYING for name, config in plan.backends.items() if name == target.backend)


def _of_tier(tier: str, kind: Kind, plan: GatewayPlan, served: Served) -> Iterator[Target]:
    for known, choices in plan.tiers.items():
        if known != tier:
            continue
        for choice in choices:
            model = choice.model or _first(choice.backend, kind, plan, served)
            if model and _fits(Target(backend=choice.backend, model=model), kind, served):
                yield Target(backend=choice.backend, model=model)


def _of_model(model: str, plan: GatewayPlan, served: Served) -> Iterator[Target]:
    for name, config in plan.backends.items():
        known = {entry.name for entry in served.get(name, ())} or set(config.models)
        # Ollama's clients leave out the tag `latest`.
        found = next((each for each in (model, f"{model}:latest") if each in known), "")
        if found:
            yield Target(backend=name, model=found)


def _first(backend: str, kind: Kind, plan: GatewayPlan, served: Served) -> str:
    """The first configured model, else the first served one that does what is asked."""
    config = next((config for name, config in plan.backends.items() if name == backend), None)
    configured = () if config is None else config.models
    known = served.get(backend, ())
    for name in configured:
        if not any(entry.name == name and not entry.serves(kind) for entry in known):
            return name
    if configured:
        return ""
    # Where both kinds are there, a model made for embeddings embeds.
    fitting = sorted((entry for entry in known if entry.serves(kind)), key=lambda entry: not entry.embeddings)
    return fitting[0].name if fitting else ""


def _fits(target: Target, kind: Kind, served: Served) -> bool:
    """Whether nothing speaks against the target: a model that only embeds does not chat, and the other way round."""
    model = model_of(target, served)
    return model is None or model.serves(kind)
