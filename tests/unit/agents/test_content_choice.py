"""Who names which post to lead the index, what is decided, who hears of it; and that nobody's absence is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from agents.analysis import Analysis
from agents.content_choice import TOPIC
from agents.coordination import Coordination
from agents.processing import Processing
from agents.research import Research
from agents.skills.content_checks import Check
from agents.skills.content_choice import Candidate, Lead, Nomination, decided, nominated, nominations_in, shortlist
from agents.skills.content_index import Choice, Finished, render_index, row_of
from agents.skills.content_post import Passage, Post, Section, Sentence, Topic
from colony.errors import BadInput
from tests.unit.agents.contexts import Bench, ScriptedModel, as_context, task

MEMBERS = {"research": Research, "analysis": Analysis, "processing": Processing}
FIGURES = some.builds(
    Candidate,
    place=some.integers(0, 50),
    title=some.just("T"),
    author=some.sampled_from(["", "a", "b"]),
    words=some.integers(1, 500),
    sources=some.integers(1, 5),
    ease=some.floats(0, 100),
    traced=some.floats(0, 1),
    repeated=some.floats(0, 1),
    drafts=some.integers(1, 2),
)
POSTS = some.lists(FIGURES, max_size=40, unique_by=lambda post: post.place)


def finished(title: str, author: str = "processing-00001", *, sources: int = 1, **figures: Any) -> Finished:
    text = f"{title} need water every day in summer."
    fields: dict[str, Any] = {"words": 3, "sentences": 1, "ease": 60, "traced": 1, "repeated": 0, **figures}
    return Finished(
        topic=Topic(id="1", topic=title),
        passages=(
            Passage(number=1, source="a.md", title="A", heading="", line=1, place=0, opens=True, text=text, score=1),
        ),
        post=Post(title=title, date="2026-01-01", lead=Section(sentences=(Sentence(text=text, cites=1),))),
        check=Check(sources=sources, **fields),
        author=author,
    )


async def collection(posts: list[Finished]) -> Mapping[str, Any]:
    bench = Bench(results={4: [post.model_dump(mode="json") for post in posts]})
    work = task("assemble_posts", {"step": 4, "first": 0, "end": len(posts)}, most_alike=1)
    return (await Coordination().handle(work, as_context(bench))).value


async def discussed(item: Mapping[str, Any], silent: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a step of kind group makes of a collection, without the bus."""
    transcript: list[dict[str, Any]] = []
    for turn, (name, kind) in enumerate(MEMBERS.items(), start=1):
        said = (await kind().handle(task("nominate_post", item), as_context(Bench()))).value
        entry = {"turn": turn, "agent": name, "action": "nominate_post"}
        transcript.append({**entry, "silent": "gone"} if name in silent else {**entry, "said": dict(said)})
    payload = {**item, "discussion": {"turns": 3, "transcript": transcript}}
    decision = (await Coordination().handle(task("choose_lead", payload), as_context(Bench()))).value
    return {"item": dict(item), "decision": dict(decision), "turns": 3, "transcript": transcript}


GARDEN = [
    finished("Beans", "processing-00001", sources=4, ease=50),
    finished("Peas", "processing-00002", sources=2, ease=90),
    finished("Slugs", "processing-00003", sources=1, ease=95, words=200),
    finished("Weeds", "processing-00004", faults=("short",), sources=9, ease=99),
]


async def test_each_names_by_its_own_measure_and_most_voices_decide() -> None:
    item = await collection(GARDEN)
    assert [each["title"] for each in item["candidates"]] == ["Beans", "Peas", "Slugs"], "those that passed"
    outcome = await discussed(item)
    named = [entry["said"]["title"] for entry in outcome["transcript"]]
    assert named == ["Beans", "Slugs", "Slugs"]
    lead = Lead.model_validate(outcome["decision"]["lead"])
    assert (lead.post.title, lead.voices, lead.named) == ("Slugs", 3, 2)
    assert {each.by: each.reason for each in lead.reasons} == {
        "analysis": "the best check: 100% traced, one draft, 200 words",
        "processing": "no other post reads more easily (Flesch 95)",
    }


async def test_who_is_silent_has_no_voice_and_a_tie_goes_to_the_lower_number() -> None:
    item = await collection(GARDEN)
    lead = Lead.model_validate((await discussed(item, silent=("analysis",)))["decision"]["lead"])
    assert (lead.post.title, lead.voices, lead.named) == ("Beans", 2, 2)
    nobody = await discussed(item, silent=tuple(MEMBERS))
    assert nobody["decision"] == {"lead": None}


async def test_without_a_post_that_passed_there_is_nothing_to_lead() -> None:
    outcome = await discussed(await collection([GARDEN[3]]))
    assert outcome["decision"] == {"lead": None}
    done = (await Coordination().handle(task("announce_lead", outcome), as_context(Bench()))).value
    assert done == {"kind": "lead", "lead": None}


async def test_authors_are_told_and_the_teaser_is_handed_off() -> None:
    bench = Bench()
    bench.reachable = True
    outcome = await discussed(await collection(GARDEN))
    done = (await Coordination().handle(task("announce_lead", outcome), as_context(bench))).value
    assert [(who, kind, said["chosen"]) for who, kind, said in bench.delivered] == [
        ("processing-00003", "hear_choice", True)
    ]
    assert [(who, said["yours"]) for who, _, said in bench.told] == [
        ("processing-00001", "Beans"),
        ("processing-00002", "Peas"),
    ]
    assert (done["delivered"], done["told"]) == (True, 2)
    payload = {"step": 4, "first": 0, "end": 4, "place": 2}
    assert done["hand_off"] == {"agent": "processing", "action": "write_teaser", "payload": payload}


async def test_nobody_can_be_reached_and_the_work_is_handed_off_all_the_same() -> None:
    outcome = await discussed(await collection(GARDEN))
    done = (await Coordination().handle(task("announce_lead", outcome), as_context(Bench()))).value
    assert (done["delivered"], done["told"]) == (False, 0)
    assert done["hand_off"]["payload"]["place"] == 2


async def test_a_thousand_posts_are_few_candidates() -> None:
    value = await collection(
        [finished(f"Bed {n}", f"processing-{n:05d}", sources=n % 7, ease=n % 90) for n in range(1_000)]
    )
    assert len(value["candidates"]) <= 9
    assert len(orjson.dumps(value["candidates"])) < 4_000


async def test_an_author_keeps_what_it_hears_once() -> None:
    bench = Bench()
    news = {"job": "key", "title": "Slugs", "reasons": ["reads easily"], "chosen": True}
    for _ in range(2):
        heard = await Processing().handle(task("hear_choice", news), as_context(bench))
        assert heard.value == {"kept": True}
    (kept,) = await bench.memory.search("which post was chosen", scope="agent", limit=5)
    assert kept.text == "My post 'Slugs' was chosen to lead the index: reads easily."
    with pytest.raises(BadInput, match="'job' and 'title'"):
        await Processing().handle(task("hear_choice", {"title": "Slugs"}), as_context(bench))


WORK = {"step": 4, "first": 0, "end": 4, "place": 1}


@pytest.mark.parametrize(
    ("model", "text", "by"),
    [
        (ScriptedModel(), "Peas need water every day in summer.", ""),
        (ScriptedModel("In summer, peas need water every day."), "In summer, peas need water every day.", "scripted"),
        (ScriptedModel("Peas were invented in 1921 by robots."), "Peas need water every day in summer.", ""),
        (ScriptedModel(BadInput("no")), "Peas need water every day in summer.", ""),
    ],
    ids=["no model", "words that hold", "words that do not", "a model that fails"],
)
async def test_a_teaser_is_an_extract_or_words_that_hold(model: ScriptedModel, text: str, by: str) -> None:
    bench = Bench(model=model, results={4: [post.model_dump(mode="json") for post in GARDEN]})
    value = (await Processing().handle(task("write_teaser", WORK), as_context(bench))).value
    assert value == {"kind": "teaser", "place": 1, "text": text, "by": by}
    assert len(model.asked) <= 1


async def test_a_post_that_is_not_there_has_no_teaser() -> None:
    bench = Bench(results={4: [GARDEN[0].model_dump(mode="json")]})
    with pytest.raises(BadInput, match="none at place 7"):
        await Processing().handle(task("write_teaser", {**WORK, "place": 7}), as_context(bench))


@pytest.mark.parametrize("reachable", [True, False])
async def test_a_finished_post_is_announced_where_anybody_listens(reachable: bool) -> None:
    bench = Bench()
    bench.reachable = reachable
    one = finished("Beans")
    checked = {**one.model_dump(mode="json", include={"topic", "passages", "post", "check", "author"})}
    value = (await Processing().handle(task("revise_post", checked), as_context(bench))).value
    assert Finished.model_validate(value).author == "processing-00001"
    said = [(topic, kind, payload["title"]) for topic, kind, payload in bench.published]
    assert said == ([(TOPIC, "post_ready", "Beans")] if reachable else [])


@pytest.mark.parametrize("payload", [{}, {"item": {}, "decision": {"lead": 5}}, {"item": 1, "decision": {}}])
async def test_what_is_no_outcome_of_a_discussion_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await Coordination().handle(task("announce_lead", payload), as_context(Bench()))


def test_what_others_say_is_read_with_care() -> None:
    good = {"place": 1, "title": "T", "by": "somebody else", "reason": "r" * 9_000}
    said = [{"said": good, "agent": "research"}, {"said": {"place": -1}}, {"silent": "gone"}, 5]
    (found,) = nominations_in({"discussion": {"transcript": said}})
    assert (found.by, len(found.reason)) == ("research", 200)
    assert nominations_in({"discussion": 5}) == nominations_in({}) == []


@given(POSTS)
def test_the_best_by_each_measure_are_on_the_short_list(posts: list[Candidate]) -> None:
    short = shortlist(posts)
    assert len(short) <= 9
    for by in MEMBERS:
        assert nominated(by, short) == nominated(by, posts)


@given(POSTS, some.lists(some.integers(0, 60), max_size=6))
def test_what_leads_is_a_candidate_with_most_voices(posts: list[Candidate], places: list[int]) -> None:
    named = [Nomination(place=place, title="T", by="x", reason="") for place in places]
    lead = decided(posts, named)
    known = [place for place in places if place in {post.place for post in posts}]
    if not known:
        assert lead is None
        return
    assert lead is not None
    most = max(known.count(place) for place in known)
    assert lead.post.place == min(place for place in known if known.count(place) == most)
    assert len(lead.reasons) == most


def test_the_index_begins_with_the_choice_unless_it_is_held_back() -> None:
    rows = [row_of(one, one.post.title.lower()) for one in GARDEN]
    reasons = (("research", "most *sources*"),)
    shown = render_index(rows, "Posts", Choice(place=1, teaser="Peas are thirsty.", reasons=reasons))
    assert (
        "## Editors' choice\n\n**[Peas](posts/peas.md)**\n\nPeas are thirsty.\n\n- research: most \\*sources" in shown
    )
    assert shown.index("Editors' choice") < shown.index("## All posts") < shown.index("(posts/beans.md)")
    plain = render_index(rows, "Posts")
    for place in (3, 99):
        assert render_index(rows, "Posts", Choice(place=place, teaser="", reasons=reasons)) == plain
    assert "Editors" not in plain
