"""A corpus ready to be asked, and the topics it speaks of. Pure but for the time it takes to build one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from agents.skills.claims import stems
from agents.skills.content_documents import Paragraph, paragraphs_of
from agents.skills.content_post import Passage, Topic
from agents.skills.phrases import keyphrases
from agents.skills.ranking import Hit, Index, terms
from agents.skills.ranking import Passage as Span

LEAST_COVERED: Final = 0.3
"""Share of what a topic says, weighed by how rare its words are, that the best passages must have."""

_WORTH_A_LOOK: Final = 0.2
_PHRASES: Final = 6
_LOOKED_AT: Final = 100
_KEYWORD: Final = 0.5
_MANY: Final = 3


class Corpus:
    """The paragraphs of some documents with an index over them."""

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        self.sources = 0
        found: list[Paragraph] = []
        for name, text in documents:
            found += paragraphs_of(name, text)
            self.sources += 1
        self.paragraphs = tuple(found)
        # Headings count twice: they say what a paragraph is about without its saying so again.
        texts = [f"{p.title} {p.heading} {p.heading} {p.text}" for p in found]
        self._index = Index([Span("", number, 0, _stemmed(text)) for number, text in enumerate(texts)])

    def passages_for(self, topic: Topic, *, limit: int) -> tuple[Passage, ...]:
        """The passages that speak of a topic, best first; none where the corpus says nothing of it."""
        said = list(dict.fromkeys(stems(f"{topic.topic} {topic.title}")))
        more = [word for word in dict.fromkeys(stems(" ".join(topic.keywords))) if word not in said]
        hits = self._hits(said, more)
        if not hits or self._covered([*said, *more], hits[:3]) < LEAST_COVERED:
            return ()
        least = hits[0].score * _WORTH_A_LOOK
        kept = [hit for hit in hits if hit.score >= least]
        if len(said) + len(more) >= _MANY:  # one word in common is chance then
            kept = [hit for hit in kept if len(hit.matched) > 1] or kept
        return tuple(self._passage(number, hit) for number, hit in enumerate(kept[:limit], 1))

    def _hits(self, said: Sequence[str], more: Sequence[str]) -> list[Hit]:
        """All hits, best first; a keyword says half as much as a word of the topic."""
        found = {hit.passage.start: hit for hit in self._index.find(" ".join(said), limit=_LOOKED_AT)}
        for hit in self._index.find(" ".join(more), limit=_LOOKED_AT):
            known = found.get(hit.passage.start, hit._replace(score=0.0, matched=()))
            score = known.score + _KEYWORD * hit.score
            found[hit.passage.start] = Hit(hit.passage, score, (*known.matched, *hit.matched))
        return sorted(found.values(), key=lambda hit: (-hit.score, hit.passage.start))

    def _covered(self, wanted: Sequence[str], hits: Sequence[Hit]) -> float:
        matched = {term for hit in hits for term in hit.matched}
        total = sum(self._index.rarity(term) for term in wanted)
        return sum(self._index.rarity(term) for term in matched) / total if total else 0.0

    def _passage(self, number: int, hit: Hit) -> Passage:
        paragraph = self.paragraphs[hit.passage.start]
        return Passage(
            number=number,
            source=paragraph.source,
            title=paragraph.title,
            heading=paragraph.heading,
            line=paragraph.line,
            place=hit.passage.start,
            opens=paragraph.opens,
            text=paragraph.text,
            score=hit.score,
        )

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """What the corpus speaks of, most promising first: titles of documents, of their sections, then phrases."""
        titles = Counter(p.title for p in self.paragraphs)
        sections = Counter((p.title, p.heading) for p in self.paragraphs if p.heading)
        phrases = Counter(
            phrase for p in self.paragraphs for phrase in keyphrases(p.text, limit=_PHRASES) if " " in phrase
        )
        named = [
            *titles,
            *(f"{title}: {heading}" for title, heading in sections),
            *(phrase for phrase, times in phrases.most_common() if times > 1),
        ]
        found: dict[frozenset[str], str] = {}
        for name in named:
            said = frozenset(terms(name))
            if said:
                found.setdefault(said, name)
        return tuple(Topic(id=str(number), topic=name) for number, name in enumerate(found.values(), start=1))


def _stemmed(text: str) -> str:
    return " ".join(stems(text))
