"""Agents that turn raw text into clean, cut and structured data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from agents.base import AgentContext, AgentResult, AgentTask
from agents.content import DRAFT_FIELDS, FINISHED_FIELDS, draft_post, revise_post
from agents.content_choice import NOMINATION_FIELDS, TEASER_FIELDS, hear_choice, nominate_post, write_teaser
from agents.fields import optional_number, parameters, text_of, texts_of, unknown_action
from agents.skills.chunks import chunk_text
from agents.skills.hashing import content_hash, near_duplicates
from agents.skills.phrases import keyphrases
from agents.skills.text import clean_text, sentences
from agents.website import PART_FIELDS, build_part, mend_part
from colony.contracts import Frozen
from colony.errors import BadInput

LONGEST_REVIEW: Final = 20_000
"""Characters of a review that are kept."""

LONGEST_DATE: Final = 100
"""Characters of its date, which may stand in a sentence."""

_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "urls": re.compile(r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,;:!?]"),
    "emails": re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"),
    "amounts": re.compile(
        r"[$€£]\s?\d[\d,]*(?:\.\d+)?|\b\d[\d,]*(?:\.\d+)?\s?(?:dollars|euros|pounds|usd|eur|gbp)\b", re.I
    ),
    "percentages": re.compile(r"\b\d+(?:\.\d+)?\s?%"),
    "dates": re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b"),
    "hashtags": re.compile(r"(?<!\w)#\w{2,64}"),
}


class _Cut(Frozen):
    size: int = Field(default=1_000, ge=20, le=100_000)
    overlap: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> _Cut:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be below size {self.size}")
        return self


class _Likeness(Frozen):
    within: int = Field(default=6, ge=0, le=20)


_ON_POSTS: Final = {
    "draft_post": draft_post,
    "revise_post": revise_post,
    "hear_choice": hear_choice,
    "write_teaser": write_teaser,
}


class Processing:
    """Cleans, cuts, compares and extracts."""

    actions: ClassVar[Mapping[str, str]] = {
        "clean_review": "cleans one row with text and an optional rating, and gives it a content hash",
        "clean": "cleans a text",
        "deduplicate": "finds equal and nearly equal texts in a list",
        "chunk": "cuts a text into overlapping pieces that end at sentences",
        "extract": "finds addresses, amounts, dates and key phrases in a text",
        "draft_post": "drafts a post from cited passages, in a language model's words where there is one",
        "revise_post": "drafts a post that failed its checks once more, with the reasons",
        "nominate_post": "names the post that reads most easily to lead the index",
        "hear_choice": "remembers which post was chosen",
        "write_teaser": "writes the teaser of the post that leads the index",
        "build_part": "writes the file of one part of a website",
        "mend_part": "writes a part of a website once more, with what its checks found",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "clean_review": ("id", "text", "hash", "rating", "date", "line"),
        "clean": ("text", "hash", "sentences"),
        "deduplicate": ("kept", "groups", "duplicates"),
        "chunk": ("chunks",),
        "extract": (*_PATTERNS, "phrases"),
        "draft_post": DRAFT_FIELDS,
        "revise_post": FINISHED_FIELDS,
        "nominate_post": NOMINATION_FIELDS,
        "hear_choice": ("kept",),
        "write_teaser": TEASER_FIELDS,
        "build_part": PART_FIELDS,
        "mend_part": PART_FIELDS,
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        match task.action:
            case "clean_review":
                return AgentResult(value=clean_review(task.payload))
            case "clean":
                text = clean_text(text_of(task.payload))
                return AgentResult(value={"text": text, "hash": content_hash(text), "sentences": len(sentences(text))})
            case "deduplicate":
                return AgentResult(value=_deduplicated(task))
            case "chunk":
                cut = parameters(task, _Cut)
                chunks = chunk_text(text_of(task.payload), size=cut.size, overlap=cut.overlap)
                return AgentResult(value={"chunks": [chunk._asdict() for chunk in chunks]})
            case "extract":
                return AgentResult(value=_extracted(text_of(task.payload)))
            case "draft_post" | "revise_post" | "hear_choice" | "write_teaser":
                return AgentResult(value=await _ON_POSTS[task.action](task, ctx))
            case "nominate_post":
                return AgentResult(value=await nominate_post(task, "processing"))
            case "build_part":
                return AgentResult(value=await build_part(task, ctx))
            case "mend_part":
                return AgentResult(value=await mend_part(task, ctx))
            case _:
                raise unknown_action(task, self.actions)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""


def clean_review(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a source in clean form: `text`, `hash`, and `id`, `rating`, `date`, `line` where the row has them.

    Raises `BadInput` naming the field: text that is missing or empty once cleaned, a rating that is no number.
    """
    text = clean_text(text_of(payload))[:LONGEST_REVIEW]
    if not any(character.isalnum() for character in text):
        raise BadInput("Field 'text' has neither letter nor digit once it is cleaned.")
    cleaned: dict[str, Any] = {"id": str(payload.get("id", "")), "text": text, "hash": content_hash(text)}
    rating = optional_number(payload, "rating")
    if rating is not None:
        cleaned["rating"] = rating
    date = " ".join(str(payload.get("date") or "").split())
    if date:
        cleaned["date"] = date[:LONGEST_DATE]
    if payload.get("line") is not None:
        cleaned["line"] = payload["line"]
    return cleaned


def _deduplicated(task: AgentTask) -> dict[str, Any]:
    texts = texts_of(task.payload)
    groups = near_duplicates(texts, within=parameters(task, _Likeness).within)
    repeated = {index for group in groups for index in group[1:]}
    return {
        "kept": [index for index in range(len(texts)) if index not in repeated],
        "groups": groups,
        "duplicates": len(repeated),
    }


def _extracted(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: list(dict.fromkeys(pattern.findall(text)))[:100] for name, pattern in _PATTERNS.items()
    }
    return {**found, "phrases": keyphrases(text, limit=20)}
