from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from agents.skills.chunks import chunk_text
from agents.skills.hashing import content_hash, distance, near_duplicates, simhash
from agents.skills.measures import accuracy, confusion, pearson, quantile, ranks, spearman, summarise
from agents.skills.phrases import keyphrases, singular
from agents.skills.ranking import Passage, rank
from agents.skills.text import clean_text, one_line, repair_mojibake, sentence_spans, sentences


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("it &amp;#38; that", "it & that"),
        ("&lt;b&gt;great&lt;/b&gt; <br/>phone", "great phone"),
        ("caf\u00c3\u00a9 it\u00e2\u20ac\u2122s", "caf\u00e9 it's"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\u200bb\x00c", "abc"),
        ("  two\t  words \r\n\r\n\r\n\r\nend ", "two words\n\nend"),
        ("2 < 3 and 5 > 4", "2 < 3 and 5 > 4"),
        ("na\u00efve \u00c4rger \u00e2", "na\u00efve \u00c4rger \u00e2"),
    ],
)
def test_clean_text(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text())
def test_cleaning_leaves_no_control_characters_and_no_double_spaces(text: str) -> None:
    cleaned = clean_text(text)
    assert "  " not in cleaned
    assert not any(ord(character) < 32 and character != "\n" for character in cleaned)


@given(st.text(alphabet=st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_broken_utf8_is_repaired(text: str) -> None:
    try:
        broken = text.encode("utf-8").decode("cp1252")
    except UnicodeDecodeError:
        assume(False)
        raise
    assert repair_mojibake(broken) in (text, broken)


def test_sentences_end_where_they_should() -> None:
    text = "I paid $3.50 to Dr. Smith. It works, e.g. at night! Does it last? Yes...  It does."
    assert sentences(text) == [
        "I paid $3.50 to Dr. Smith.",
        "It works, e.g. at night!",
        "Does it last?",
        "Yes...",
        "It does.",
    ]


@given(st.text(alphabet="ab .!?\n\"'"), st.integers(5, 40), st.integers(0, 4))
@example("? ? ????", 5, 1)
def test_chunks_fit_and_cover_every_sentence(text: str, size: int, overlap: int) -> None:
    chunks = chunk_text(text, size=size, overlap=overlap)
    covered = {place for chunk in chunks for place in range(chunk.start, chunk.end)}
    assert all(text[chunk.start : chunk.end] == chunk.text and 0 < len(chunk.text) <= size for chunk in chunks)
    assert all(place in covered for start, end in sentence_spans(text) for place in range(start, end))
    assert [chunk.end for chunk in chunks] == sorted({chunk.end for chunk in chunks})


@given(st.text(max_size=300), st.integers(5, 80))
def test_one_line_is_one_line_and_fits(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_near_duplicates_are_grouped_and_others_are_not() -> None:
    base = "the battery of this camera lasts for a very long time and the pictures it takes are sharp and bright"
    texts = [base, base + " indeed", "a completely different remark on shipping and boxes", base.upper() + "!"]
    assert near_duplicates(texts, within=16) == [[0, 1, 3]]
    assert content_hash(base) == content_hash(base.upper() + "!") != content_hash(base + " indeed")
    assert distance(simhash(base), simhash(texts[2])) > 16


@given(st.lists(st.text(alphabet="abc ", max_size=12), max_size=12), st.integers(0, 12))
def test_bands_miss_no_pair_within_the_distance(texts: list[str], within: int) -> None:
    grouped = {index: number for number, group in enumerate(near_duplicates(texts, within=within)) for index in group}
    prints = [simhash(text) for text in texts]
    for left in range(len(texts)):
        for right in range(left):
            if distance(prints[left], prints[right]) <= within:
                assert grouped[left] == grouped[right]


def test_key_phrases_name_what_a_review_is_about() -> None:
    found = keyphrases("The battery life is great, but the picture quality of this DVD player's remote is poor.")
    assert {"battery life", "picture quality"} <= set(found)
    assert keyphrases("it was very good and i really loved it!") == []
    assert [singular(word) for word in ("batteries", "speakers", "lens", "boxes", "bus", "glass")] == [
        "battery",
        "speaker",
        "lens",
        "box",
        "bus",
        "glass",
    ]


def test_ranking_prefers_the_passage_that_has_the_rare_words() -> None:
    passages = [
        Passage("a", 0, 9, "Temporal keeps the history of workflows."),
        Passage("b", 0, 9, "Lions sleep for twenty hours a day in the shade."),
        Passage("c", 0, 9, "A day has twenty-four hours."),
    ]
    hits = rank("How many hours do lions sleep?", passages)
    assert [hit.passage.source for hit in hits] == ["b", "c"]
    assert rank("zebra", passages) == []
    assert rank("anything", []) == []


_numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(_numbers)
def test_summaries_are_in_order(values: list[float]) -> None:
    found = summarise(values)
    assert found is not None
    steps = [found.minimum, found.lower_quartile, found.median, found.upper_quartile, found.maximum]
    assert all(low <= high or math.isclose(low, high) for low, high in pairwise(steps))
    assert found.median == pytest.approx(statistics.median(values), abs=1e-6)
    assert quantile(sorted(values), 0) == min(values)


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=30, unique=True))
def test_spearman_sees_any_rising_curve_as_perfect(values: list[int]) -> None:
    assert spearman(values, [value**3 for value in values]) == pytest.approx(1)
    assert pearson(values, [-2 * value + 7 for value in values]) == pytest.approx(-1)


def test_measures_say_none_where_nothing_can_be_said() -> None:
    assert summarise([]) is None
    assert pearson([1, 1], [2, 3]) is None
    assert pearson([1], [2]) is None
    assert accuracy({}) is None
    assert ranks([10, 20, 10]) == [1.5, 3, 1.5]
    assert accuracy(confusion([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")])) == 0.75
    with pytest.raises(ValueError, match="against"):
        pearson([1, 2], [1])
