from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.skills.claims import best_source, support
from agents.skills.content_alike import ALIKE, HELD, fingerprint, nearest, repeated_share, runs, shared_share, standing
from agents.skills.content_checks import Bounds, checked, reading_ease, syllables
from agents.skills.content_corpus import Corpus
from agents.skills.content_documents import name_of, paragraphs_of
from agents.skills.content_draft import Shape, draft_extracts
from agents.skills.content_index import Finished, Gathering, Row, Slugs, render_index, render_quality, row_of
from agents.skills.content_page import render_post
from agents.skills.content_post import Passage, Post, Section, Sentence, Topic, slug_of, topic_of
from agents.skills.text import sentences
from colony.errors import BadInput

GARDEN = Path(__file__).parents[3] / "examples" / "garden" / "corpus"
TEXTS = {path.name: path.read_text() for path in sorted(GARDEN.glob("*.md"))}
LINES = [line for text in TEXTS.values() for line in sentences(text) if line.endswith(".") and "#" not in line]
words = st.lists(st.sampled_from("soil water worm leaf root seed frost light stone river".split()), min_size=6)  # noqa: SIM905 -- reads as a list of words


@cache
def corpus() -> Corpus:
    return Corpus(TEXTS.items())


def passage(text: str, number: int = 1) -> Passage:
    return Passage(
        number=number, source="a.md", title="A", heading="", line=1, place=0, opens=True, text=text, score=1.0
    )


def post(*lines: str) -> Post:
    return Post(
        title="T", date="2026-01-01", lead=Section(sentences=tuple(Sentence(text=line, cites=1) for line in lines))
    )


# --- documents


def test_prose_of_markdown_is_read_with_headings_and_lines_and_nothing_else() -> None:
    text = (
        "---\ntitle: x\n---\n# Bees\n\nBees fly far and *like* [flowers](http://x.org) in the sun very much.\n\n"
        "```\nbees = 3\n```\n\n- a list item that is quite long and ends with a stop.\n\n"
        "## Honey\n\nHoney keeps for many years in a closed jar, and nobody\nknows for how long.\n\n| a | b |\n"
    )
    found = paragraphs_of("bees.md", text)
    assert [(p.title, p.heading, p.line, p.opens) for p in found] == [
        ("Bees", "", 6, True),
        ("Bees", "Honey", 16, True),
    ]
    assert found[0].text == "Bees fly far and like flowers in the sun very much."
    assert found[1].text.endswith("nobody knows for how long.")


def test_names_of_python_keep_their_underscores_and_bold_does_not() -> None:
    text = "The method __sub__() is __very often__ called by **operators** and by _functions_ of a class.\n"
    (found,) = paragraphs_of("a.txt", text)
    assert found.text == "The method __sub__() is very often called by operators and by functions of a class."


def test_underlined_headings_and_pages_of_html_are_read_too() -> None:
    rst = (
        "Bees\n====\n\nBees fly far and like flowers in the sun very much.\n\nHoney\n-----\n\nCode::\n\n    honey = 1\n"
    )
    assert [(p.title, p.text[:8]) for p in paragraphs_of("b.rst", rst)] == [("Bees", "Bees fly")]
    page = (
        "<!doctype html><html><head><title>no</title><style>p{}</style></head><body><nav>Home of all the bees.</nav>"
        "<h1>Bees</h1><p>Bees fly far &amp; like <b>flowers</b> in the sun very much.</p><script>x()</script></body>"
    )
    (found,) = paragraphs_of("http://x.org/bees.html", page)
    assert (found.title, found.text) == ("Bees", "Bees fly far & like flowers in the sun very much.")
    assert name_of("articles/green-manure_2.txt") == "Green manure"


@given(st.text(max_size=400))
def test_any_text_can_be_a_document(text: str) -> None:
    for paragraph in paragraphs_of("x.md", text):
        assert paragraph.text.strip()
        assert paragraph.line >= 1


# --- tracing


@given(st.integers(0, len(LINES) - 3))
def test_what_a_passage_says_traces_to_it(at: int) -> None:
    text = " ".join(LINES[at : at + 3])
    for line in sentences(text):
        assert support(line, text).holds


@given(st.sampled_from(LINES), st.integers(1_000, 10**9))
def test_a_number_that_the_passage_lacks_does_not_trace(line: str, number: int) -> None:
    assert not support(f"{line[:-1]} in {number} gardens.", line).holds


@given(words, words)
def test_a_sentence_of_other_words_does_not_trace(one: list[str], other: list[str]) -> None:
    strange = " ".join(f"x{word}" for word in other)
    assert not support(strange.capitalize() + ".", " ".join(one).capitalize() + ".").holds


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("Water your tomatoes early in the morning.", True),
        ("In the morning one should be watering tomatoes.", True),
        ("Water tomatoes in the evening.", False),
        ("Never water tomatoes in the morning.", False),
        ("Tomatoes need two litres of water.", True),
        ("Tomatoes need 2 litres of water.", True),
        ("Tomatoes need three litres of water.", False),
        ("Professor Miller waters tomatoes early in the morning with Colonel Smith.", False),
        ("Tomatoes cure every disease known to science.", False),
    ],
)
def test_claims_that_turn_round_or_add_to_what_was_said_do_not_trace(claim: str, holds: bool) -> None:
    said = "Water tomatoes in the early morning. A big plant of tomatoes needs two litres of water on a hot day."
    assert support(claim, said).holds is holds


def test_the_passage_that_bears_a_claim_out_is_found() -> None:
    found = best_source("Worms carry compost down.", ["Slugs eat seedlings.", "Worms will carry the compost down."])
    assert found is not None
    assert found[0] == 1
    assert best_source("The moon is made of cheese.", ["Slugs eat seedlings."]) is None


# --- duplication


@given(words)
def test_a_text_is_wholly_like_itself_whatever_its_case(text: list[str]) -> None:
    one = " ".join(text)
    (first, _) = nearest({0: fingerprint(one), 1: fingerprint(one.upper() + "!")})
    assert first.share == 1.0


@given(st.lists(st.text(min_size=1), unique_by=lambda text: text.casefold(), max_size=8))
def test_shares_are_shares(texts: list[str]) -> None:
    for likeness in nearest({place: fingerprint(text) for place, text in enumerate(texts)}, least=0.0):
        assert 0.0 <= likeness.share <= 1.0
        assert likeness.text != likeness.other
    assert 0.0 <= repeated_share(texts) <= 1.0


def test_a_copied_half_shows_and_other_texts_do_not() -> None:
    half = TEXTS["soil.md"][:900]
    prints = {0: fingerprint(half + TEXTS["beans.md"][:900]), 1: fingerprint(half), 2: fingerprint(TEXTS["slugs.md"])}
    found = nearest(prints)
    assert {each.text for each in found} == {0, 1}
    assert found[0].share > 0.8
    assert repeated_share(["One thing.", "Another thing.", "one THING"]) == pytest.approx(1 / 3)
    assert runs("too few words")
    assert not runs("")


# --- checks


def test_reading_ease_tells_plain_from_learned() -> None:
    plain = reading_ease("The cat sat on the mat. The dog ran to the door.")
    learned = reading_ease(
        "Interdisciplinary epistemological considerations necessitate methodological sophistication."
    )
    assert plain > 90 > 0 > learned
    assert reading_ease("...") == 0.0
    assert [syllables(word) for word in ("cat", "table", "watered", "planted", "leaves", "compost")] == [
        1,
        2,
        2,
        2,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("lines", "bounds", "fault"),
    [
        (["Worms eat leaves."], Bounds(), "short"),
        (["Worms eat leaves."] * 3, Bounds(least_words=1), "repeats"),
        (["Worms eat leaves.", "Horses eat gold."], Bounds(least_words=1), "untraced"),
        (["Worms eat leaves."], Bounds(least_words=1, most_words=2), "long"),
        (["Worms eat leaves."], Bounds(least_words=1, least_ease=120), "hard"),
        (["Worms eat leaves."], Bounds(least_words=1, least_sources=2), "sources"),
    ],
)
def test_each_fault_is_named(lines: list[str], bounds: Bounds, fault: str) -> None:
    assert fault in checked(post(*lines), [passage("Worms eat leaves.")], bounds).faults


def test_a_citation_of_nothing_is_untraced() -> None:
    assert "untraced" in checked(post("Worms eat leaves."), [passage("Worms eat leaves.", 2)], Bounds()).faults


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="least_words"):
        Bounds(least_words=500, most_words=100)


# --- topics, corpus, draft


def test_a_row_becomes_a_topic() -> None:
    topic = topic_of({"topic": " Caf\u00e9 &amp; tea. ", "keywords": "milk; sugar, ", "line": 3, "title": "Hot"})
    assert (topic.topic, topic.keywords, topic.id, topic.title) == ("Café & tea", ("milk", "sugar"), "3", "Hot")
    for empty in ({}, {"topic": "  "}, {"topic": "&nbsp; ..."}, {"topic": 5}):
        with pytest.raises(BadInput, match="Field 'topic'"):
            topic_of(empty)


def test_slugs_are_names_of_files_and_each_is_given_once() -> None:
    assert slug_of("Crème brûlée: how-to's & 10 tips!") == "creme-brulee-how-tos-10-tips"
    assert slug_of("..") == "post"
    assert len(slug_of("word " * 50)) <= 60
    slugs = Slugs()
    assert [slugs.take(title) for title in ("A b", "a B!", "A b 2", "a-b")] == ["a-b", "a-b-2", "a-b-2-2", "a-b-3"]


@given(st.text())
def test_any_title_makes_a_safe_slug(title: str) -> None:
    slug = slug_of(title)
    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(slug) <= 60


def test_a_corpus_answers_what_it_speaks_of_and_nothing_else() -> None:
    known = corpus()
    found = known.passages_for(Topic(id="1", topic="how to keep slugs away"), limit=5)
    assert found[0].source == "slugs.md"
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    assert not known.passages_for(Topic(id="2", topic="quantum chromodynamics"), limit=5)
    assert not known.passages_for(Topic(id="3", topic="zero interest rates in a cold bank"), limit=5)
    assert known.topics[0].topic == "Peas and beans"
    assert len({topic.topic for topic in known.topics}) == len(known.topics) > 20


@pytest.mark.parametrize("topic", ["watering tomatoes", "compost", "winter vegetables", "improving clay soil"])
def test_a_draft_of_extracts_traces_says_nothing_twice_and_starts_on_its_own(topic: str) -> None:
    found = corpus().passages_for(Topic(id="1", topic=topic), limit=16)
    draft = draft_extracts(Topic(id="1", topic=topic), found, Shape(), "2026-01-01")
    check = checked(draft, found, Bounds(least_words=80))
    assert check.passed, check
    headings = [section.heading for section in draft.sections]
    assert len(set(headings)) == len(headings)
    for part in draft.parts():
        assert not part.sentences[0].text.startswith(("It ", "They ", "This "))


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12), st.integers(40, 400))
def test_any_passages_make_a_draft(lines: list[str], size: int) -> None:
    found = [passage(line, number) for number, line in enumerate(lines, start=1)]
    draft = draft_extracts(Topic(id="1", topic="soil"), found, Shape(words=size), "2026-01-01")
    check = checked(draft, found, Bounds(least_words=1, least_ease=-100))
    assert "untraced" not in check.faults
    assert "repeats" not in check.faults


# --- pages


def finished(topic: str) -> Finished:
    wanted = Topic(id="1", topic=topic)
    found = corpus().passages_for(wanted, limit=16)
    draft = draft_extracts(wanted, found, Shape(), "2026-01-01")
    return Finished(topic=wanted, passages=found, post=draft, check=checked(draft, found, Bounds(least_words=80)))


def test_a_page_has_front_matter_and_a_note_for_each_mark() -> None:
    one = finished("compost")
    page = render_post(one.topic, one.post, one.passages, one.check, "compost")
    front = yaml.safe_load(page.split("---\n")[1])
    assert front["slug"] == "compost"
    assert front["sources"][0] == "compost.md"
    marks = {mark.split("]")[0] for mark in page.split("[^")[1:]}
    assert all(f"\n[^{mark}]: " in page for mark in marks)


def test_foreign_text_brings_no_markup_of_its_own() -> None:
    text = 'Worms <script>alert(1)</script> eat [leaves](http://x.org) and | tables: "yes".'
    draft = post(text).model_copy(update={"title": 'A "title": with\n--- and <b>'})
    check = checked(draft, [passage(text)], Bounds(least_words=1))
    page = render_post(Topic(id="1", topic="worms"), draft, [passage(text)], check, "worms")
    assert "<script>" not in page.split("---\n", 2)[2].replace("\\<", "")
    assert yaml.safe_load(page.split("\n---\n")[0].removeprefix("---\n"))["title"] == 'A "title": with\n--- and <b>'


def test_index_and_table_name_posts_copies_and_those_held_back() -> None:
    one, other = finished("compost"), finished("keeping slugs away")
    bad = other.model_copy(update={"check": other.check.model_copy(update={"faults": ("short",)})})
    together, slugs = Gathering(), Slugs()
    rows: list[Row] = []
    for each in (one, one, bad):
        together.add(each)
        rows.append(row_of(each, slugs.take(each.post.title)))
    whole, held = together.result()
    assert held == {1}
    assert {likeness.share for likeness in whole.alike if likeness.share >= ALIKE} == {1.0}
    copy = rows[1].check.model_copy(update={"faults": ("alike",)})
    rows[1] = rows[1].model_copy(update={"check": copy})
    index = render_index(rows, "Posts")
    assert "(posts/compost.md)" in index
    assert "(posts/compost-2.md)" in index
    assert index.index("Held back") < index.index("(posts/keeping-slugs-away.md)")
    table = render_quality(rows, whole, {"BadInput": 2}, [])
    assert "1 of 3 posts passed all checks" in table
    assert "a copy of another post" in table
    assert "100% Compost |" in table
    assert "too short" in table
    assert "2 (BadInput)" in table


def said(*parts: int) -> str:
    """A text of parts that have nothing in common."""
    return " ".join(f"w{part}x{word}" for part in parts for word in range(60))


def test_a_copy_of_what_was_left_out_stands() -> None:
    prints = {
        place: fingerprint(text)
        for place, text in enumerate((said(*range(10)), said(*range(1, 11)), said(*range(3, 13)), said(20)))
    }
    found = standing(prints, HELD)
    assert {copy: each.other for copy, each in found.copies.items()} == {1: 0}
    assert found.alike[2].other == 0
    assert ALIKE < found.alike[2].share < HELD
    assert standing(prints, 2.0).copies == {}


def test_many_copies_are_all_found() -> None:
    found = standing({place: fingerprint(said(1, 2, 3)) for place in range(200)}, HELD)
    assert set(found.copies) == set(range(1, 200))
    assert standing({0: [], 1: []}, HELD).copies == {}


@given(st.lists(st.sets(st.integers(0, 20)), max_size=12))
def test_no_two_that_stand_are_copies_and_each_copy_has_one_that_stands(prints: list[set[int]]) -> None:
    found = standing(dict(enumerate(prints)), HELD)
    left = [place for place in range(len(prints)) if place not in found.copies]
    assert all(shared_share(prints[a], prints[b]) < HELD for a in left for b in left if a < b)
    assert all(each.other in left and each.other < each.text and each.share >= HELD for each in found.copies.values())
