"""Agents that judge and count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field

from agents.base import AgentContext, AgentResult, AgentTask
from agents.content import CHECK_FIELDS, check_post
from agents.content_choice import NOMINATION_FIELDS, nominate_post
from agents.fields import numbers_of, optional_number, parameters, text_of, texts_of, unknown_action
from agents.ranges import range_pages
from agents.skills.measures import Summary, pearson, spearman, summarise
from agents.skills.phrases import keyphrases
from agents.skills.report_model import themes_of
from agents.skills.sentiment import Judge, by_lexicon, by_model, needs_model
from agents.skills.tally import Tally, merge, tally_of
from agents.website import PART_FIELDS, check_part
from colony.contracts import Frozen
from colony.errors import BadInput

PHRASES_OF_A_REVIEW: Final = 8


class _Themes(Frozen):
    limit: int = Field(default=30, ge=1, le=200)


class Analysis:
    """Judges the sentiment of texts, finds their themes, and adds results up."""

    actions: ClassVar[Mapping[str, str]] = {
        "sentiment": "judges a text by lexicon, and by a language model where the parameters ask for it",
        "themes": "finds the phrases that a list of texts shares, with their mean sentiment",
        "statistics": "describes a list of numbers, and how it goes with a second one",
        "aggregate_reviews": "adds up a range of judged reviews to partial sums",
        "check_post": "checks a draft: length, reading ease, repetition, and that its claims trace to passages",
        "nominate_post": "names the post with the best check to lead the index",
        "check_part": "checks the file of one part of a website",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sentiment": ("*",),
        "themes": ("texts", "themes"),
        "statistics": (*Summary.model_fields, "pearson", "spearman"),
        "aggregate_reviews": tuple(Tally.model_fields),
        "check_post": CHECK_FIELDS,
        "nominate_post": NOMINATION_FIELDS,
        "check_part": PART_FIELDS,
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        match task.action:
            case "sentiment":
                return AgentResult(value=await _sentiment(task, ctx))
            case "themes":
                return AgentResult(value=_themes(task))
            case "statistics":
                return AgentResult(value=_statistics(task.payload))
            case "aggregate_reviews":
                return AgentResult(value=await _aggregate(task, ctx))
            case "check_post":
                return AgentResult(value=await check_post(task, ctx))
            case "nominate_post":
                return AgentResult(value=await nominate_post(task, "analysis"))
            case "check_part":
                return AgentResult(value=await check_part(task, ctx))
            case _:
                raise unknown_action(task, self.actions)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""


async def _sentiment(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The payload with `compound`, `label`, `phrases`, `by`; for rated reviews also `baseline`, VADER's score."""
    text = text_of(task.payload)
    judge = parameters(task, Judge)
    verdict = by_lexicon(text, domain=judge.domain)
    if ctx.llm.enabled and needs_model(verdict, judge):
        verdict = await by_model(text, verdict, ctx.llm, tier=judge.tier, trust=judge.trust)
    judged: dict[str, Any] = {
        **task.payload,
        "compound": verdict.compound,
        "label": verdict.label.value,
        "phrases": keyphrases(text, limit=PHRASES_OF_A_REVIEW),
        "by": verdict.by,
    }
    if verdict.used is not None:
        judged["asked"] = {"model": verdict.model, "used": verdict.used.model_dump()}
    if optional_number(task.payload, "rating") is not None:
        judged["baseline"] = by_lexicon(text, domain=False).compound
    return judged


async def _aggregate(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """Partial sums of the reviews in the range; `merge_reviews` adds them."""
    total = Tally()
    async for page in range_pages(task, ctx):
        total = merge((total, tally_of(page)))
    return total.model_dump(mode="json")


def _themes(task: AgentTask) -> dict[str, Any]:
    texts = texts_of(task.payload)
    rows = [
        {"id": str(index), "text": text, "compound": by_lexicon(text).compound, "phrases": keyphrases(text)}
        for index, text in enumerate(texts)
    ]
    themes = themes_of(tally_of(rows), limit=parameters(task, _Themes).limit)
    return {"texts": len(texts), "themes": [theme.model_dump() for theme in themes]}


def _statistics(payload: Mapping[str, Any]) -> dict[str, Any]:
    values = numbers_of(payload, "values")
    summary = summarise(values)
    found: dict[str, Any] = summary.model_dump() if summary is not None else {}
    if payload.get("other") is not None:
        other = numbers_of(payload, "other")
        if len(other) != len(values):
            raise BadInput(f"Field 'other' has {len(other)} numbers, 'values' {len(values)}.")
        found |= {"pearson": pearson(values, other), "spearman": spearman(values, other)}
    return found
