from __future__ import annotations

import pytest

from colony.config.gateway import BackendConfig, TierTarget
from colony.config.model import Config, ModelConfig
from colony.errors import ModelRefused, NotFound, Unavailable
from colony.ids import Id
from ray_app.gateway.contracts import Ask, Caller, Kind, ServedModel, Target
from ray_app.gateway.plan import GatewayPlan, gateway_plan
from ray_app.gateway.tiers import cheapest, targets_of

BIG, SMALL = Id("big"), Id("small")


def plan(**tiers: tuple[TierTarget, ...]) -> GatewayPlan:
    backends = {
        SMALL: BackendConfig(kind="scripted", models=("tiny",)),
        BIG: BackendConfig(kind="scripted"),
    }
    everything = (TierTarget(backend=SMALL), TierTarget(backend=BIG))
    return GatewayPlan(
        backends,
        {
            "fast": tiers.get("fast", everything),
            "standard": tiers.get("standard", everything),
            "complex": tiers.get("complex", everything),
        },
    )


def ask(kind: Kind = Kind.CHAT, **fields: str) -> Ask:
    return Ask(request_id="r", kind=kind, caller=Caller(), body={}, **fields)  # pyright: ignore[reportArgumentType]


SERVED = {
    "small": (ServedModel(name="tiny", context=512),),
    "big": (ServedModel(name="embed", context=512, embeddings=True), ServedModel(name="huge", context=8192)),
}


def test_without_a_word_the_fast_tier_and_its_first_fitting_models_are_taken() -> None:
    found = targets_of(ask(), plan(), SERVED)
    assert found == (Target(backend="small", model="tiny"), Target(backend="big", model="huge"))


def test_a_tier_goes_by_header_or_by_the_name_of_a_model() -> None:
    only_big = plan(complex=(TierTarget(backend=BIG, model="huge"),))
    assert targets_of(ask(tier="complex"), only_big, SERVED) == (Target(backend="big", model="huge"),)
    assert targets_of(ask(model="complex", tier="fast"), only_big, SERVED) == (Target(backend="big", model="huge"),)


def test_a_model_goes_to_the_backends_that_serve_it() -> None:
    assert targets_of(ask(model="huge"), plan(), SERVED) == (Target(backend="big", model="huge"),)


def test_the_tag_latest_may_be_left_out() -> None:
    served = {"big": (ServedModel(name="llama:latest", context=512),)}
    assert targets_of(ask(model="llama"), plan(), served) == (Target(backend="big", model="llama:latest"),)


def test_a_configured_model_is_trusted_before_its_backend_has_answered() -> None:
    assert targets_of(ask(model="tiny"), plan(), {}) == (Target(backend="small", model="tiny"),)


def test_embeddings_go_to_models_that_embed() -> None:
    assert targets_of(ask(Kind.EMBEDDING), plan(), SERVED) == (Target(backend="big", model="embed"),)


def test_an_unknown_model_is_named_with_what_there_is() -> None:
    with pytest.raises(NotFound, match=r"'nobody'.*embed, huge, tiny"):
        targets_of(ask(model="nobody"), plan(), SERVED)


def test_while_a_backend_is_silent_an_unknown_model_may_still_come() -> None:
    with pytest.raises(Unavailable):
        targets_of(ask(model="huge"), plan(), {"small": SERVED["small"]})


def test_without_any_backend_the_remedy_says_how_to_get_one() -> None:
    with pytest.raises(NotFound, match=r"model\.enabled"):
        targets_of(ask(), GatewayPlan({}, {}), {})


def test_the_cheapest_is_the_fast_tier_whatever_was_asked() -> None:
    asked = ask(tier="complex")
    fast = plan(fast=(TierTarget(backend=SMALL),))
    assert cheapest(asked, fast, SERVED) == (Target(backend="small", model="tiny"),)


def test_the_section_model_alone_makes_one_backend() -> None:
    assert gateway_plan(Config()).backends == {}
    embedded = gateway_plan(Config(model=ModelConfig(enabled=True)))
    assert [config.kind for config in embedded.backends.values()] == ["embedded"]
    named = ModelConfig(enabled=True, url="http://127.0.0.1:11434/v1", names={"fast": "a", "complex": "b"})
    other = gateway_plan(Config(model=named))
    assert [config.urls for config in other.backends.values()] == [("http://127.0.0.1:11434",)]
    assert other.tiers["complex"][0].model == "b"
    assert other.tiers["standard"][0].model == ""


def test_texts_are_classified_by_backends_that_can() -> None:
    mixed = plan()
    mixed.backends[SMALL] = BackendConfig(kind="ollama", models=("tiny",))
    asked = ask(Kind.CLASSIFICATION)
    assert targets_of(asked, mixed, SERVED) == (Target(backend="big", model="huge"),)
    assert cheapest(asked, mixed, SERVED) == (Target(backend="big", model="huge"),)
    with pytest.raises(ModelRefused, match="'small' does not classify"):
        targets_of(ask(Kind.CLASSIFICATION, model="tiny"), mixed, SERVED)
