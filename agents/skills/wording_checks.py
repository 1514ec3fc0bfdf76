"""Whether a language model's words about reviews hold: short, plain, and of the findings. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from agents.skills.phrases import singular
from agents.skills.report_model import ReviewReport, Theme
from agents.skills.stopwords import FUNCTION_WORDS, word_set
from agents.skills.text import clean_text, one_line, sentences

Side = Literal["like", "dislike"]

LONGEST_NAME: Final = 32
"""Characters a name may have."""

_LONGEST_SENTENCES: Final = 350
_MOST_WORDS: Final = 4
_NAME: Final = re.compile(r"[^\W\d_][\w'&/ -]*")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_FOREIGN: Final = re.compile(r"https?:|www\.|[<>{}\[\]|`@#\\]|\.(?:com|net|org|io)\b", re.IGNORECASE)
_ITS_WORDS: Final = frozenset({"strap", "dial", "clasp", "watch"})
"""Words of the examples that a summary of something else does not have."""
_SPEECH: Final = word_set(
    """
    review reviews reviewer customer people buyer buyers user users product products item items say find feel think
    like likes liked love loved enjoy praise praised prefer appreciate favour favor please happy satisfied satisfaction
    pleased dislike disliked hate hated complain complained complaint criticise criticize blame disappointed
    disappointing unhappy problem issue trouble concern fault good great best better well bad poor worst worse mixed
    divided positive negative neutral overall generally mostly particularly majority minority opinion feedback mention
    mentioned name point quality strong weak main common
    """
)
_SPOKEN: Final = frozenset(singular(word) for word in _SPEECH)
_PRAISE: Final = frozenset({"like", "love", "enjoy", "praise", "prefer", "appreciate", "happy", "satisfied", "great"})
_BLAME: Final = frozenset(
    {"dislike", "hate", "complain", "complaint", "criticise", "criticize", "blame", "unhappy", "bad"}
)
_EXTREMES: Final = 4
_NEUTRAL: Final = 0.05
_BORNE_OUT: Final = 0.6
"""Share of the words of a sentence that say something and must be known."""


def usable_name(label: str, theme: Theme) -> str:
    """`label` in plain form if it may stand for `theme`, else empty.

    Short, without punctuation, with the theme's phrase in it, and of words of its phrases.
    """
    plain = one_line(clean_text(label), 2 * LONGEST_NAME).strip(" .\"'").lower()
    words = [singular(word) for word in _WORD.findall(plain)]
    if not 1 <= len(words) <= _MOST_WORDS or len(plain) > LONGEST_NAME or _NAME.fullmatch(plain) is None:
        return ""
    own = _words((theme.phrase,))
    known = own | _words(theme.also)
    if not own <= set(words) or any(word not in known and word not in FUNCTION_WORDS for word in words):
        return ""
    return plain


def _words(texts: Iterable[str]) -> set[str]:
    return {singular(word) for text in texts for word in _WORD.findall(text.lower())}


def extremes(report: ReviewReport) -> dict[Side, list[Theme]]:
    """Themes with the best and the worst score, in several reviews each; a side without any is left out."""
    ranked = sorted((theme for theme in report.themes if theme.count > 1), key=lambda theme: theme.mean)
    found: dict[Side, list[Theme]] = {
        "like": [theme for theme in reversed(ranked) if theme.mean >= _NEUTRAL][:_EXTREMES],
        "dislike": [theme for theme in ranked if theme.mean <= -_NEUTRAL][:_EXTREMES],
    }
    return {side: themes for side, themes in found.items() if themes}


def usable_sentences(text: str, side: Side, sides: Mapping[Side, Sequence[Theme]]) -> str:
    """The sentences of `text` that hold as words on one side of the findings; empty for none."""
    known = {name: _words(theme.phrase for theme in themes) for name, themes in sides.items()}
    own = known[side]
    other = {word for name, words in known.items() if name != side for word in words} - own
    kept: list[str] = []
    for sentence in sentences(clean_text(text)[: 2 * _LONGEST_SENTENCES]):
        flat = " ".join(sentence.split())
        if flat not in kept and _holds(flat, side, own, other):
            kept.append(flat)
    while sum(map(len, kept)) > _LONGEST_SENTENCES:
        kept.pop()
    return " ".join(kept)


def _holds(sentence: str, side: Side, own: set[str], other: set[str]) -> bool:
    """Whether a sentence is whole, plain, without numbers, of this side's themes, and does not turn them round."""
    if not sentence.endswith((".", "!", "?")) or _FOREIGN.search(sentence) or any(map(str.isdigit, sentence)):
        return False
    said = _words((sentence,))
    telling = [word for word in said if word not in FUNCTION_WORDS]
    if not said & own or said & (other | (_ITS_WORDS - own)):
        return False
    wrong = _BLAME if side == "like" else _PRAISE
    known = sum(word in own or word in _SPOKEN for word in telling)
    return known >= _BORNE_OUT * len(telling) and not said & (wrong - own)
