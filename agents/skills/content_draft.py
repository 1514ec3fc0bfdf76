"""A post without a model: an outline from passages, every sentence an extract with its citation. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from agents.skills.claims import stems, telling_words
from agents.skills.content_checks import reading_ease, word_count
from agents.skills.content_post import Passage, Post, Section, Sentence, Topic
from agents.skills.hashing import content_hash
from agents.skills.phrases import keyphrases
from agents.skills.text import sentences
from colony.contracts import Frozen

_LEANS: Final = re.compile(
    r"(?:this|that|these|those|they|it|its|their|he|she|such|however|but|and|or|then|so|thus|therefore|instead|"
    r"otherwise|also|moreover|furthermore|here|neither|another|even then|only then|after that|for example|for instance|"
    r"in this case|as a result|that is why|the same|the former|the latter|both (?:of|are|were|have|can|may))\b",
    re.IGNORECASE,
)
"""How a sentence begins that leans on the one before it."""
_LONGEST_RUN: Final = 5
_LEAD_LOOKS_AT: Final = 8
_ON_TOPIC: Final = 0.45
"""Share of the best passage's score that one needs to be to the point."""
_OPENINGS: Final = 0.75
"""The same for how another document begins: that is about its own topic."""
_SAME: Final = 0.8
"""Share of the telling words of a sentence that another one has: then it says the same."""


class Shape(Frozen):
    """Parameters of a draft."""

    words: int = Field(default=320, ge=40, le=5_000)
    """About how many words a post is to have."""
    section_words: int = Field(default=110, ge=20, le=2_000)
    """At most about so many for a section."""
    least_words: int = Field(default=150, ge=1, le=5_000)
    """Up to here passages are used that are less to the point."""
    sections: int = Field(default=4, ge=1, le=20)
    """Most sections after the lead."""
    plain: bool = False
    """Prefer passages that read easily to those that fit best."""


def draft_extracts(topic: Topic, passages: Sequence[Passage], shape: Shape, date: str) -> Post:
    """The post made of `passages` (not empty). Nothing is said twice."""
    said = _Said()
    ranked = sorted(passages, key=_plainness) if shape.plain else list(passages)
    lead = _lead(topic, ranked)
    opening = said.fresh(_run(lead, shape.section_words) or _first(lead))
    total = _words(opening)
    sections: list[Section] = []
    for group in _groups([passage for passage in ranked if passage is not lead], near=lead):
        if total >= shape.words or len(sections) >= shape.sections:
            break
        if total >= shape.least_words and not _to_the_point(group, lead, passages[0].score):
            continue
        lines: list[Sentence] = []
        for passage in group:
            room = min(shape.section_words, shape.words + shape.section_words // 2 - total) - _words(lines)
            if room > shape.section_words // 4:
                lines += said.fresh(_run(passage, room))
        if lines:
            sections.append(Section(heading=_heading(group[0], lead, topic, sections), sentences=tuple(lines)))
            total += _words(lines)
    ordered = _in_reading_order(sections, lead, passages)
    return Post(title=title_of(topic), date=date, lead=Section(sentences=tuple(opening)), sections=tuple(ordered))


def title_of(topic: Topic) -> str:
    """The title somebody chose, else the topic with a capital."""
    said = (topic.title or topic.topic).strip()
    return said[:1].upper() + said[1:]


def _plainness(passage: Passage) -> float:
    return -reading_ease(passage.text)


def _lead(topic: Topic, ranked: Sequence[Passage]) -> Passage:
    """What a post begins with: among the best passages one that opens a document or a section, and is on the topic."""
    wanted = set(stems(topic.topic))
    best = ranked[0].score

    def worth(passage: Passage) -> float:
        named = len(wanted & set(stems(f"{passage.title} {passage.heading}"))) / max(1, len(wanted))
        opens = 0.15 * passage.opens + 0.7 * (passage.opens and not passage.heading and named > 0)
        return passage.score / best + opens + 0.5 * named

    return max(ranked[:_LEAD_LOOKS_AT], key=worth)


def _groups(passages: Sequence[Passage], *, near: Passage) -> list[list[Passage]]:
    """Passages of one section of a source together and in their order there; groups by their best passage.

    What follows the lead in its own section comes first.
    """
    groups: dict[tuple[str, str], list[Passage]] = {}
    for passage in passages:
        groups.setdefault((passage.source, passage.heading), []).append(passage)
    ordered = list(groups.values())
    ordered.sort(key=lambda group: (group[0].source, group[0].heading) != (near.source, near.heading))
    return [sorted(group, key=lambda passage: passage.place) for group in ordered]


def _in_reading_order(sections: Sequence[Section], lead: Passage, passages: Sequence[Passage]) -> list[Section]:
    """First what the document of the lead goes on with, in its order, then what others add, best first."""
    cited = {passage.number: passage for passage in passages}

    def place(section: Section) -> tuple[bool, int]:
        first = cited[section.sentences[0].cites]
        return (True, 0) if first.source != lead.source else (False, first.place)

    return sorted(sections, key=place)


def _to_the_point(group: Sequence[Passage], lead: Passage, best: float) -> bool:
    opens_other = group[0].source != lead.source and not group[0].heading
    return max(passage.score for passage in group) >= best * (_OPENINGS if opens_other else _ON_TOPIC)


def _run(passage: Passage, room: int) -> list[Sentence]:
    """The first sentences of a passage that stand on their own, as many as fit about `room` words; at least one."""
    kept: list[Sentence] = []
    words = 0
    for text in sentences(passage.text):
        if not kept and _LEANS.match(text):
            continue
        count = word_count(text)
        if kept and (words + count > room * 1.15 or len(kept) == _LONGEST_RUN):
            break
        kept.append(Sentence(text=text, cites=passage.number))
        words += count
    return kept


def _first(passage: Passage) -> list[Sentence]:
    """How a passage begins, even if that leans on what went before: better than nothing."""
    return [Sentence(text=text, cites=passage.number) for text in sentences(passage.text)[:_LONGEST_RUN]]


def _words(lines: Iterable[Sentence]) -> int:
    return sum(word_count(line.text) for line in lines)


def _heading(first: Passage, lead: Passage, topic: Topic, before: Sequence[Section]) -> str:
    """The heading the passage stands under; with the title of its document where that is not the one of the lead."""
    heading = first.heading or first.title
    taken = {section.heading.casefold() for section in before} | {title_of(topic).casefold()}
    if first.heading and (first.source != lead.source or heading.casefold() in taken):
        heading = f"{first.title}: {first.heading[:1].lower()}{first.heading[1:]}"
    if heading.casefold() in taken:
        phrases = [phrase for phrase in keyphrases(first.text, limit=4) if phrase.casefold() not in taken]
        heading = phrases[0].capitalize() if phrases else f"More on {heading.lower()}"
    return heading


class _Said:
    """What a post has said so far."""

    def __init__(self) -> None:
        self._marks: set[str] = set()
        self._words: list[frozenset[str]] = []

    def fresh(self, lines: Sequence[Sentence]) -> list[Sentence]:
        """Those that say something new, which from now on is said, up to the first that does not."""
        kept: list[Sentence] = []
        for line in lines:
            mark, words = content_hash(line.text), telling_words(line.text)
            if mark in self._marks or any(len(words & each) > _SAME * max(1, len(words)) for each in self._words):
                if not kept:
                    continue
                break
            if not kept and line is not lines[0] and _LEANS.match(line.text):
                continue
            kept.append(line)
            self._marks.add(mark)
            if words:
                self._words.append(words)
        return kept
