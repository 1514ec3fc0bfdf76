"""The embedder without a model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.llm.port import Caller
from colony.memory.hashing import HashingEmbedder, hashed

DIMENSIONS = st.integers(32, 512)
TEXTS = st.text(max_size=300)


def likeness(left: str, right: str, dimensions: int = 256) -> float:
    pairs = zip(hashed(left, dimensions), hashed(right, dimensions), strict=True)
    return sum(mine * yours for mine, yours in pairs)


@given(TEXTS, DIMENSIONS)
def test_every_text_has_a_vector_of_length_one(text: str, dimensions: int) -> None:
    vector = hashed(text, dimensions)
    assert len(vector) == dimensions
    assert all(map(math.isfinite, vector))
    assert math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-9)


@given(TEXTS, TEXTS)
def test_likeness_is_that_of_directions(left: str, right: str) -> None:
    assert -1.0 - 1e-9 <= likeness(left, right) <= 1.0 + 1e-9
    assert math.isclose(likeness(left, right), likeness(right, left), abs_tol=1e-12)
    assert math.isclose(likeness(left, left), 1.0, rel_tol=1e-9)


WORDS = ["mulch", "soil", "slugs", "water", "tomato", "compost", "beans"]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12))
def test_order_case_and_space_do_not_matter(words: list[str]) -> None:
    assert math.isclose(likeness(" ".join(words), "\n\n".join(reversed(words)).upper()), 1.0, rel_tol=1e-9)


def test_the_vector_is_the_same_on_every_machine() -> None:
    """Vectors live in the ledger: a change of this is a change of `VERSION`."""
    vector = hashed("Compost keeps the soil alive.", 64)
    assert [round(value, 4) for value in vector[:8]] == EXPECTED


EXPECTED = [0.0, 0.0, 0.0, 0.0, -0.0089, 0.0, 0.0, 0.2306]


def test_forms_of_a_word_are_near_and_other_words_far() -> None:
    asked = "How do I compost kitchen scraps?"
    near = "Composting turns scraps from the kitchen into soil."
    far = "Interest rates rose again in the third quarter."
    assert likeness(asked, near) > 0.3
    assert abs(likeness(asked, far)) < 0.2
    assert likeness("tomatoes", "tomato") > 0.15 > abs(likeness("tomatoes", "invoice"))


def test_a_copy_with_changes_stays_near() -> None:
    text = "Mulch keeps the soil moist in summer and feeds the worms below. Spread it thickly when the soil is warm."
    changed = text.replace("thickly", "generously").replace("summer", "hot weather")
    assert likeness(text, changed) > 0.75
    assert likeness(text, changed) > likeness(text, "Slugs eat young lettuce at night; beer traps catch some.") + 0.4


@pytest.mark.parametrize("text", ["", "   ", "\0", "!?.", "\ud800", "x" * 100_000])
async def test_strange_texts_have_a_vector_too(text: str) -> None:
    (vector,) = await HashingEmbedder(64).embed([text], Caller(), 5.0)
    assert math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-9)


async def test_many_texts_come_back_in_order() -> None:
    texts = [f"text number {number} " * 40 for number in range(30)]
    embedder = HashingEmbedder(128)
    found = await embedder.embed(texts, Caller(), 30.0)
    assert found == [hashed(text, 128) for text in texts]
    assert embedder.name == "hashing-1"
    assert await embedder.embed([], Caller(), 1.0) == []
