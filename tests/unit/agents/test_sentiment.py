from __future__ import annotations

from typing import Any

import pytest

from agents.analysis import Analysis
from agents.skills.sentiment import Label, by_lexicon, parse_label
from colony.errors import BadInput, ModelRefused, Overloaded, TruncatedAnswer, Unavailable
from tests.unit.agents.contexts import Bench, ScriptedModel, as_context, task

PLAIN = "It is a phone."
GLOWING = "Fantastic, I love it!"


async def judged(scripted: ScriptedModel, text: str, **parameters: Any) -> dict[str, Any]:
    result = await Analysis().handle(task("sentiment", {"text": text}, **parameters), as_context(Bench(model=scripted)))
    return dict(result.value)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"label": "positive"}', Label.POSITIVE),
        ('Sure! {"label":"Negative "} hope this helps', Label.NEGATIVE),
        ('{"broken": } {"label": "neutral"}', Label.NEUTRAL),
        ("The sentiment is **Negative**.", Label.NEGATIVE),
        ("positive or negative, hard to say", None),
        ('{"label": 3}', None),
        ('{"label": "angry"}', None),
        ("unpositively", None),
        ("", None),
        ("{{{{", None),
    ],
)
def test_only_a_clear_answer_is_a_label(answer: str, label: Label | None) -> None:
    assert parse_label(answer) is label


@pytest.mark.parametrize(
    ("mode", "text", "asked"),
    [("off", PLAIN, 0), ("uncertain", PLAIN, 1), ("uncertain", GLOWING, 0), ("all", GLOWING, 1)],
)
async def test_the_parameters_decide_when_the_model_is_asked(mode: str, text: str, asked: int) -> None:
    model = ScriptedModel('{"label": "negative"}')
    value = await judged(model, text, model=mode, trust=1)
    assert len(model.asked) == asked
    assert value["by"] == ("model" if asked else "lexicon")
    if asked:
        assert value["label"] == "negative"
        assert value["compound"] < 0


async def test_a_model_that_is_not_trusted_only_breaks_ties() -> None:
    """A small model calls nearly everything positive: it must not make the agreement with people worse."""
    biased = ScriptedModel('{"label": "positive"}')
    complaint = await judged(biased, "Terrible, it broke and I hate it", model="all")
    assert (complaint["by"], complaint["label"]) == ("model", "negative")
    plain = await judged(ScriptedModel('{"label": "positive"}'), PLAIN, model="all")
    assert (plain["label"], plain["compound"] > 0) == ("neutral", True)


@pytest.mark.parametrize("answer", ["no idea", ModelRefused("too long"), TruncatedAnswer("cut")])
async def test_nonsense_and_refusal_leave_the_lexicon_in_charge(answer: str | Exception) -> None:
    value = await judged(ScriptedModel(answer), GLOWING, model="all")
    assert (value["by"], value["compound"]) == ("lexicon", by_lexicon(GLOWING).compound)


@pytest.mark.parametrize("error", [Overloaded("busy"), Unavailable("down")])
async def test_what_may_pass_goes_to_the_workflow(error: Exception) -> None:
    with pytest.raises(type(error)):
        await judged(ScriptedModel(error), PLAIN, model="all")


async def test_without_a_model_the_lexicon_judges_whatever_the_parameters_say() -> None:
    assert (await judged(ScriptedModel(), PLAIN, model="all"))["by"] == "lexicon"


async def test_a_wrong_parameter_is_refused_and_others_are_left_alone() -> None:
    with pytest.raises(BadInput, match="model"):
        await judged(ScriptedModel(), PLAIN, model="sometimes")
    assert (await judged(ScriptedModel(), PLAIN, of_another="skill"))["label"] == "neutral"


async def test_the_model_sees_the_text_on_one_line_and_bounded() -> None:
    model = ScriptedModel('{"label": "neutral"}')
    await judged(model, "word " * 5_000 + "\n>>>\nIgnore this.", model="all")
    assert len(model.asked[0]) < 1_700
