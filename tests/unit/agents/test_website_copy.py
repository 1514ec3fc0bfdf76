from __future__ import annotations

import json

import pytest

from agents.base import Model
from agents.skills.website_brief import parse_brief
from agents.skills.website_claims import passages_of, usable
from agents.skills.website_copy import LONGEST_DESCRIPTION, CopyParameters, copy_of, worded_copy
from agents.skills.website_plan import Part, Site, plan_site
from agents.website import return_part
from colony.errors import Unavailable
from colony.llm.port import ChatAnswer
from tests.documents import ROOT
from tests.unit.agents.contexts import Bench, ScriptedModel, as_context, task

PLAN = plan_site(parse_brief((ROOT / "examples" / "brief.yaml").read_bytes()))
SITE = PLAN.site


class JsonModel(ScriptedModel):
    """Answers with the value of its text, as a model with a schema does."""

    async def chat(self, prompt: str, **more: object) -> ChatAnswer:  # pyright: ignore[reportIncompatibleMethodOverride]
        answer = await super().chat(prompt)
        return answer.model_copy(update={"data": json.loads(answer.text)})


def part(path: str) -> Part:
    return next(each for each in PLAN.parts if each.path == path)


def in_the_brief(site: Site, text: str) -> bool:
    whole = " ".join((ROOT / "examples" / "brief.yaml").read_text("utf-8").split())
    return all(sentence.strip(" .") in whole for sentence in text.removesuffix("...").split(". "))


@pytest.mark.parametrize("path", [each.path for each in PLAN.parts if each.kind in ("page", "post")])
def test_without_a_model_every_word_is_of_the_brief(path: str) -> None:
    words = copy_of(SITE, part(path))
    assert in_the_brief(SITE, words.lead)
    assert path == "journal.html" or in_the_brief(SITE, words.description)
    assert 10 <= len(words.description) <= LONGEST_DESCRIPTION
    assert "lorem" not in words.lead.lower()


async def asked(path: str, answer: str | Exception) -> tuple[str, str, str, str]:
    model: Model = JsonModel(answer)
    words = await worded_copy(SITE, part(path), model, CopyParameters())
    return words.lead, words.description, words.by, words.note


async def refused(path: str, said: str) -> str:
    """Why the words of the brief stand where a model says this."""
    plain = copy_of(SITE, part(path))
    lead, description, by, note = await asked(path, json.dumps({"lead": said, "description": said}))
    assert (lead, description, by) == (plain.lead, plain.description, "brief")
    return note


async def test_a_model_words_what_the_brief_leaves_open() -> None:
    lead = "We bake sourdough with stone-ground flour from three farms in the valley."
    description = "A small sourdough bakery on the harbour, open four days a week."
    answer = json.dumps({"lead": lead, "description": description})
    assert await asked("index.html", answer) == (lead, description, "scripted", "")


async def test_the_summary_of_the_brief_stays() -> None:
    description = "Order by Thursday evening and collect your loaf on Saturday."
    lead, said, by, _ = await asked("order.html", json.dumps({"lead": description, "description": description}))
    assert lead == "Order by Thursday evening, collect on Saturday. You pay at the counter."
    assert (said, by) == (description, "scripted")


@pytest.mark.parametrize(
    "invented",
    [
        "We bake sourdough with flour from 47 farms in the valley.",
        "We bake sourdough with flour from farms near Paris.",
        "Award-winning artisans revolutionise gastronomy through passion, excellence and innovation.",
        "Visit https://evil.example for sourdough from the valley.",
        "<b>Sourdough</b> bakery with flour from <script>three</script> farms @ the valley.",
        "Sourdough",
        "We bake sourdough with flour from three farms and",
        "We bake sourdough with stone-ground flour from three farms in the...",
    ],
)
async def test_a_sentence_that_says_more_than_the_brief_is_left_out(invented: str) -> None:
    assert "scripted" in await refused("index.html", invented)
    assert usable(invented, passages_of([copy_of(SITE, part("index.html")).lead], [], ""), 280) == ""


@pytest.mark.parametrize(
    "mixed",
    [
        "Joe Adeyemi, baker and founder, makes the buns and decides when they are good enough.",
        "Mara Lindqvist learned to bake in a drying room on the harbour with a brick oven from 1931.",
    ],
)
async def test_what_is_said_of_one_is_not_said_of_another(mixed: str) -> None:
    await refused("about.html", mixed)


@pytest.mark.parametrize(
    "turned",
    [
        "The bakery is at the end of Rope Walk, behind the boatyard, with a rack for bicycles and cars.",
        "The bakery is not at the end of Rope Walk, behind the boatyard.",
        "The bakery isn't at the end of Rope Walk, behind the boatyard.",
    ],
)
async def test_what_the_brief_denies_or_says_is_not_turned_round(turned: str) -> None:
    await refused("contact.html", turned)


async def test_words_that_are_those_of_the_brief_are_of_the_brief() -> None:
    assert "those of the brief" in await refused("contact.html", copy_of(SITE, part("contact.html")).description)


async def test_of_an_answer_the_sentences_that_hold_are_taken() -> None:
    whole = "The bakery is at the end of Rope Walk, behind the boatyard."
    answer = json.dumps({"lead": whole, "description": f"{whole} {whole} We are the best of Paris. The bakery is at"})
    _, description, by, _ = await asked("contact.html", answer)
    assert (description, by) == (whole, "scripted")


async def test_a_model_that_does_not_answer_costs_nothing_but_its_words() -> None:
    plain = copy_of(SITE, part("index.html"))
    lead, description, by, note = await asked("index.html", Unavailable("gone"))
    assert (lead, description, by) == (plain.lead, plain.description, "brief")
    assert "Unavailable" in note


async def test_a_part_whose_author_is_gone_is_mended_all_the_same() -> None:
    from agents.skills.website_parts import checked, piece_of, plan_piece, value_of, written
    from agents.skills.website_plan import rows_of

    brief = parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())
    row = next(row for row in rows_of(brief) if row["part"] == "order.html")
    piece = checked(written(plan_piece(row), "processing-00001"))
    assert piece.findings
    done = piece_of(await return_part(task("return_part", value_of(piece)), as_context(Bench())))
    assert done.sent_back == piece.findings
    assert (done.author, done.mended_by) == ("processing-00001", "agent-1")
    assert checked(done).findings == ()
