from __future__ import annotations

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st
from vaderSentiment import vaderSentiment

from agents.skills.measures import pearson
from agents.skills.reviews_lexicon import plain_lexicon, reviews_lexicon
from agents.skills.sentiment import label_of
from agents.skills.tally import rating_label
from tests.unit.agents.rated_sentences import RATED

ORIGINAL = vaderSentiment.SentimentIntensityAnalyzer()

PLAIN_WORDS = "no nor or but least at very never so this without doubt kind of sort just enough camera phone it"
_RULED = [
    *vaderSentiment.NEGATE,
    *vaderSentiment.BOOSTER_DICT,
    *vaderSentiment.SPECIAL_CASES,
    *PLAIN_WORDS.split(),
]
_word = st.one_of(
    st.sampled_from(sorted(ORIGINAL.lexicon)),
    st.sampled_from(_RULED),
    st.sampled_from(sorted(ORIGINAL.emojis)),
    st.text(alphabet=string.ascii_letters + string.punctuation + "éß💘", min_size=1, max_size=6),
)
_styled = st.builds(
    lambda word, style, mark: style(word) + mark,
    _word,
    st.sampled_from([str, str.upper, str.capitalize]),
    st.sampled_from(["", "", "", ",", ".", "!", "!!!", "?", "??", "????"]),
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(_styled, max_size=12).map(" ".join))
@example("")
@example("   ")
@example("the service was never this good but the food was GREAT great great!!!!!!")
@example("no good or nice thing, kind of bad ass, at least not least bad")
@example("At least it isn't a horrible book, but the plot is the SHIT 💘!")
def test_without_domain_words_scores_are_exactly_those_of_the_package(text: str) -> None:
    assert plain_lexicon().compound(text) == ORIGINAL.polarity_scores(text)["compound"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gets_a_score_in_range_from_both(text: str) -> None:
    assert plain_lexicon().compound(text) == ORIGINAL.polarity_scores(text)["compound"]
    assert -1 <= reviews_lexicon().compound(text) <= 1


def _measured(score: object) -> tuple[float, float]:
    scores = [score(text) for _, text in RATED]  # type: ignore[operator]
    found = pearson([rating for rating, _ in RATED], scores)
    right = sum(label_of(one) == rating_label(rating, "signed") for (rating, _), one in zip(RATED, scores, strict=True))
    assert found is not None
    return found, right / len(RATED)


def test_domain_words_agree_better_with_readers_than_the_package_alone() -> None:
    plain = _measured(lambda text: ORIGINAL.polarity_scores(text)["compound"])
    ours = _measured(reviews_lexicon().compound)
    assert ours[0] >= plain[0]
    assert ours[1] >= plain[1]


def test_domain_words_keep_negation() -> None:
    score = reviews_lexicon().compound
    assert score("It is not sturdy.") < 0 < score("It is sturdy.")
    assert score("I would not recommend it.") < 0 < score("I would recommend it.")
    assert score("Don't waste your money.") < 0
    assert score("It is like a brick.") == 0 < score("I like it.")
    assert score("pretty bad") < score("bad")
