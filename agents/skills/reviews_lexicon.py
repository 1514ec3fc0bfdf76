"""What words mean in product reviews, where it differs from the social media VADER was made for.

Three small principled changes, none of them fitted to single sentences:
nouns of trade that are no praise there (support, gift, play), words of quality that the lexicon lacks (flimsy, sturdy,
refund), and set phrases whose sentiment is not the sum of their words (can't go wrong, waste of money).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from agents.skills.stopwords import word_set
from agents.skills.vader import Lexicon, installed_words

NEUTRAL: Final = word_set(
    """
    support supported supports supporting play played player playing plays number share shared shares sharing
    help gift gifts save saves saved saving shoot shooting shot shots party hand energy fire fired cut cuts stop
    stops sure natural natures interest interested block blocked blocks cash certain matter matters chance drop
    drops dropped kind lying dear please true truly alone pay demand legal original create created creates
    creating creative supporter supporters trust charged charge charges leave leaves tops
    """
)
"""No opinion in a review: a player plays, a gift was given, customer support was called."""

QUALITY: Final[Mapping[str, float]] = {
    **dict.fromkeys(("flawless", "flawlessly", "superb", "outstanding", "stunning", "top-notch"), 2.8),
    **dict.fromkeys(("sturdy", "durable", "reliable", "crisp", "responsive", "intuitive", "solid", "versatile"), 1.8),
    **dict.fromkeys(("lightweight", "compact", "portable", "sleek", "affordable", "convenient", "user-friendly"), 1.5),
    **dict.fromkeys(("fast", "quick", "quickly", "easily", "simple", "sharp", "accurate", "bargain", "plus"), 1.3),
    **dict.fromkeys(("recommended", "recommend", "recommending"), 2.0),
    **dict.fromkeys(("works", "bright", "smooth", "smoothly", "vivid", "effortless", "seamless"), 1.0),
    **dict.fromkeys(("junk", "garbage", "trash", "crap", "crappy", "lemon", "paperweight", "rubbish"), -2.8),
    **dict.fromkeys(("defective", "faulty", "unusable", "unreliable", "useless", "worthless", "nonexistent"), -2.5),
    **dict.fromkeys(("flimsy", "shoddy", "buggy", "overpriced", "mediocre", "cheaply", "flaw", "flaws"), -2.0),
    **dict.fromkeys(("refund", "returned", "returning", "broke", "broken", "died", "crashes", "crashed"), -1.7),
    **dict.fromkeys(("malfunction", "malfunctioned", "scratches", "scratched", "leaks", "leaked", "hiss"), -1.7),
    **dict.fromkeys(("slow", "bulky", "clunky", "noisy", "blurry", "grainy", "awkward", "laggy", "glitch"), -1.5),
    **dict.fromkeys(("glitches", "glitchy", "freezes", "froze", "skips", "hassle", "complaint", "complaints"), -1.5),
    **dict.fromkeys(("drawback", "downside", "nuisance", "cumbersome", "unresponsive", "incompatible"), -1.5),
    **dict.fromkeys(("expensive", "pricey", "lacks", "lacking", "wish", "hope", "supposed", "unfortunately"), -1.0),
}
"""Words about the quality of a product."""

PHRASES: Final[Mapping[str, float]] = {
    **dict.fromkeys(("can't go wrong", "cannot go wrong", "can not go wrong", "couldn't be happier"), 2.8),
    **dict.fromkeys(("can't beat", "cannot beat", "hard to beat", "second to none", "nothing better"), 2.5),
    **dict.fromkeys(("no problem", "no problems", "no complaints", "no issues", "without a problem"), 1.8),
    **dict.fromkeys(("any better", "no better", "highly recommend", "highly recommended"), 2.6),
    **dict.fromkeys(("worth every penny", "well worth", "worth the money", "works great", "works well"), 2.3),
    **dict.fromkeys(("well made", "well built", "well designed", "easy to use", "user friendly"), 2.2),
    **dict.fromkeys(("as advertised", "as expected", "point and shoot"), 0.8),
    **dict.fromkeys(("waste of money", "waste your money", "waste of time", "waste your time"), -3.0),
    **dict.fromkeys(("stay away", "thanks for nothing", "falls apart", "fell apart", "piece of junk"), -2.8),
    **dict.fromkeys(("don't buy", "do not buy", "not worth", "isn't worth", "save your money", "not recommend"), -2.6),
    **dict.fromkeys(("doesn't work", "didn't work", "won't work", "does not work", "did not work"), -2.2),
    **dict.fromkeys(("stopped working", "quit working", "not working", "sent it back", "send it back"), -2.2),
    **dict.fromkeys(
        ("get what you pay for", "got what you pay for", "get what u pay for", "too good to be true"), -1.2
    ),
    **dict.fromkeys(("don't waste your money", "don't waste your time", "never buy", "never again"), -2.8),
    **dict.fromkeys(("supposed to", "customer service", "more trouble than it's worth"), -0.8),
    **dict.fromkeys(("never fails", "never failed", "can't say enough", "cannot say enough"), 2.0),
    **dict.fromkeys(("as well", "as well as", "as good as it gets", "at best", "well as"), 0.0),
}
"""Set phrases, scored as one word."""

_LIKERS: Final = word_set(
    "i you we they he she really also don't do did didn't doesn't would i'd you'll you'd i'll especially to"
)


def _phrases_by_first_word() -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for phrase in PHRASES:
        words = tuple(phrase.split())
        found.setdefault(words[0], []).append(words)
    for entries in found.values():
        entries.sort(key=len, reverse=True)
    return found


_FIRST: Final = _phrases_by_first_word()


def _rewriter(carries: Callable[[str], bool]) -> Callable[[list[str]], list[str]]:
    """Joins set phrases to one word; reads "pretty good" as "quite good" and "like a brick" as a comparison."""

    def rewrite(words: list[str]) -> list[str]:
        lower = [word.lower() for word in words]
        changed: list[str] = []
        index = 0
        while index < len(words):
            word = lower[index]
            for phrase in _FIRST.get(word, ()):
                if tuple(lower[index : index + len(phrase)]) == phrase:
                    changed.append(" ".join(words[index : index + len(phrase)]))
                    index += len(phrase)
                    break
            else:
                changed.append(_alone(words[index], lower, index, carries))
                index += 1
        return changed

    return rewrite


def _alone(word: str, lower: list[str], index: int, carries: Callable[[str], bool]) -> str:
    if lower[index] == "pretty" and index + 1 < len(lower) and carries(lower[index + 1]):
        return "quite"
    if lower[index] == "like" and not (index and lower[index - 1] in _LIKERS):
        return "as"
    return word


@lru_cache(maxsize=1)
def plain_lexicon() -> Lexicon:
    """VADER as published; the base line our own is measured against. Built once in a process."""
    return Lexicon(installed_words())


@lru_cache(maxsize=1)
def reviews_lexicon() -> Lexicon:
    """VADER with the words of product reviews. Built once in a process."""
    words = installed_words()
    domain = {**dict.fromkeys(NEUTRAL, 0.0), **QUALITY, **PHRASES}
    carrying = {word for word, valence in {**words.lexicon, **domain}.items() if valence}
    return Lexicon(words, domain=domain, rewrite=_rewriter(carrying.__contains__))
