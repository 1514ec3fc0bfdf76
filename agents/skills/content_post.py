"""What a post is made of. Pure data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from agents.fields import text_of
from agents.skills.model_use import ModelSum
from agents.skills.text import clean_text, one_line
from colony.contracts import Frozen
from colony.errors import BadInput

LONGEST_TOPIC: Final = 300
_LONGEST_SLUG: Final = 60
_KEYWORDS: Final = 20


class Topic(Frozen):
    """What one post is to be about."""

    id: str
    topic: str
    title: str = ""
    """A title somebody has chosen already; empty to find one."""
    keywords: tuple[str, ...] = ()


class Passage(Frozen):
    """A paragraph of a source that speaks of the topic."""

    number: int
    """From 1, by rank."""
    source: str
    title: str
    heading: str
    line: int
    place: int
    """Number of the paragraph in the corpus, from 0."""
    opens: bool
    """Whether it is the first of its section."""
    text: str
    score: float


class Sentence(Frozen):
    """One sentence and the passage it comes from."""

    text: str
    cites: int
    """Number of the passage."""
    by: str = ""
    """Name of the model that worded it; empty for an extract."""


class Section(Frozen):
    """Some sentences under a heading; the lead has none."""

    heading: str = ""
    sentences: tuple[Sentence, ...]


class Post(Frozen):
    """A draft: title, lead and sections."""

    title: str
    date: str
    """ISO 8601, the day it was drafted."""
    lead: Section
    sections: tuple[Section, ...] = ()
    title_by: str = ""
    """Name of the model that worded the title; empty for none."""
    models: Mapping[str, ModelSum] = Field(default_factory=dict[str, ModelSum])
    """What models did for it, used or not."""
    unanswered: Mapping[str, int] = Field(default_factory=dict[str, int])
    """Calls of a model without an answer, by error class."""

    def parts(self) -> tuple[Section, ...]:
        """Lead and sections."""
        return (self.lead, *self.sections)

    def all_sentences(self) -> list[Sentence]:
        """All sentences in order."""
        return [sentence for part in self.parts() for sentence in part.sentences]

    def worded_by(self) -> str:
        """Names of the models whose words are in it; empty where all are extracts."""
        names = [self.title_by, *(sentence.by for sentence in self.all_sentences())]
        return ", ".join(sorted({name for name in names if name}))


def topic_of(payload: Mapping[str, Any]) -> Topic:
    """The topic in a row of a topics file. Raises `BadInput` by field."""
    said = one_line(clean_text(text_of(payload, "topic")), LONGEST_TOPIC)
    if not any(character.isalnum() for character in said):
        raise BadInput("Field 'topic' has neither letter nor digit.")
    words = re.split(r"[,;|\n]", clean_text(str(payload.get("keywords") or "")))
    return Topic(
        id=one_line(str(payload.get("id") or payload.get("line") or ""), 64),
        topic=said.rstrip(" ."),
        title=one_line(clean_text(str(payload.get("title") or "")), 120),
        keywords=tuple(one_line(word, 60) for word in words if word.strip())[:_KEYWORDS],
    )


def slug_of(title: str) -> str:
    """A name for a file and an address: a-z, 0-9 and hyphens, at most 60 characters; `post` where nothing is left."""
    plain = unicodedata.normalize("NFKD", title.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    plain = plain.replace("'", "")
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(slug) > _LONGEST_SLUG:
        slug = slug[: _LONGEST_SLUG + 1].rsplit("-", 1)[0][:_LONGEST_SLUG].strip("-")
    return slug or "post"
