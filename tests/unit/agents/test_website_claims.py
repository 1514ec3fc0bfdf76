from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.skills.website_claims import passages_of, usable

TEXTS = [
    "A small bakery on the harbour. We bake with flour from three farms. The shop is open from Wed. to Sat. each week.",
    "Mara fires the oven at three. Joe bakes the rye in tins. There is a rack for bicycles and none for cars.",
    "Four ingredients and one oven. This is what happens between the mill and the counter.",
]
PEOPLE = [
    "Mara Lindqvist, Baker and founder: Looks after the starter and the rye.",
    "Wren Oakley, Apprentice: Makes the buns and decides when they are good enough.",
]
PASSAGES = passages_of(TEXTS, PEOPLE, "Larch & Loaf")


@pytest.mark.parametrize(
    "said",
    [
        "We bake with flour from three farms.",
        "A bakery on the harbour, with flour from three farms.",
        "Mara Lindqvist, baker and founder, looks after the starter.",
        "There is a rack for bicycles and none for cars.",
        "The shop is open from Wed. to Sat. each week.",
        "Four ingredients and one oven. This is what happens between the mill and the counter.",
        "Larch & Loaf is a small bakery on the harbour.",
    ],
)
def test_what_one_passage_bears_out_is_kept_whole(said: str) -> None:
    assert usable(said, PASSAGES, 280) == said


@pytest.mark.parametrize(
    "said",
    [
        "Mara makes the buns and decides when they are good enough.",
        "Wren Oakley, apprentice and founder, looks after the starter and the rye.",
        "Joe fires the oven at three, and bakes the rye.",
        "Paris is a small bakery on the harbour.",
        "A small bakery on the harbour of Paris.",
        "Jo bakes the rye in tins.",
        "Five ingredients and one oven.",
        "A large bakery on the harbour.",
        "We bake with flour from 3 farms on the harbour.",
        "There is a rack for bicycles and for cars.",
        "We do not bake with flour from three farms.",
        "We don’t bake with flour from three farms.",  # noqa: RUF001 - as people write it
        "We bake with flour from three farms and...",
        "We bake with flour",
        "This is what happens between the mill and the counter.",
    ],
)
def test_what_none_bears_out_is_left_out(said: str) -> None:
    assert usable(said, PASSAGES, 280) == ""


def test_a_sentence_that_points_back_goes_with_what_it_points_to() -> None:
    first = "Mara Lindqvist, baker and founder, looks after the starter and the rye."
    assert usable(f"{first} She makes the buns and decides when they are good enough.", PASSAGES, 280) == first
    assert usable(f"{first} Paris is far. She looks after the starter and the rye.", PASSAGES, 280) == first
    both = f"{first} She looks after the starter and the rye."
    assert usable(both, PASSAGES, 280) == both


def test_sentences_are_taken_as_far_as_they_fit_and_once() -> None:
    farms = "We bake with flour from three farms."
    assert usable(f"{farms} {farms} A small bakery on the harbour.", PASSAGES, len(farms) + 5) == farms


@given(st.text(max_size=400), st.integers(20, 300))
def test_any_text_gives_short_plain_words_or_none(text: str, limit: int) -> None:
    found = usable(text, PASSAGES, limit)
    assert len(found) <= limit
    assert not set(found) & set("<>{}[]|`@#\\*\n")
