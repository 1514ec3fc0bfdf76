"""How agents choose the post that leads the index, in the template `content_creation`.

All of it is an extra: where somebody cannot be reached the posts are no worse, so nothing here fails for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import structlog
from pydantic import ValidationError

from agents.base import AgentContext, AgentTask
from agents.fields import parameters, whole_number
from agents.ranges import range_pages
from agents.skills.content_choice import (
    Candidate,
    Lead,
    Nomination,
    Teaser,
    candidates_in,
    decided,
    nominated,
    nominations_in,
)
from agents.skills.content_index import Finished
from agents.skills.content_post import Section, Sentence
from agents.skills.content_wording import Wording, worded
from agents.skills.text import one_line
from colony.errors import BadInput, BudgetSpent, ColonyError, ModelRefused, NoMemory, NotPermitted
from colony.ledger.validation import storable

TOPIC: Final = "posts"
"""Where finished posts are announced: `colony listen colony.topic.posts`."""

READY: Final = "post_ready"
HEAR: Final = "hear_choice"
WRITE_TEASER: Final = "write_teaser"
AUTHORS: Final = "processing"
"""The type of the agents that draft posts."""

NOMINATION_FIELDS: Final = tuple(Nomination.model_fields)
LEAD_FIELDS: Final = ("kind", "lead", "delivered", "told", "hand_off")
TEASER_FIELDS: Final = ("kind", *Teaser.model_fields)

_LABEL: Final = "lead"
_LONGEST: Final = 400
_log = structlog.get_logger(__name__)


async def announce_post(task: AgentTask, ctx: AgentContext, one: Finished) -> None:
    """Publish that a post is finished, for whoever listens; that nobody can be told changes nothing."""
    check = one.check
    said = {
        "job": task.job,
        "number": task.seq,
        "title": one_line(one.post.title, 120),
        "words": check.words,
        "ease": check.ease,
        "traced": check.traced,
        "faults": list(check.faults),
        "author": one.author,
    }
    try:
        await ctx.publish(TOPIC, READY, said)
    except ColonyError as error:  # the post itself is what counts
        _log.debug("a post was not announced", job=task.job, seq=task.seq, reason=str(error)[:200])


async def nominate_post(task: AgentTask, by: str) -> dict[str, Any]:
    """The post that agents of the type `by` would have lead the index; no fields where there is none."""
    found = nominated(by, _candidates(task))
    return {} if found is None else found.model_dump(mode="json")


async def choose_lead(task: AgentTask) -> dict[str, Any]:
    """What most of those who spoke name: `lead`, None where nobody named a post."""
    lead = decided(_candidates(task), nominations_in(task.payload))
    return {"lead": None if lead is None else lead.model_dump(mode="json")}


def _candidates(task: AgentTask) -> list[Candidate]:
    if not isinstance(task.payload.get("candidates"), list):
        raise BadInput("Field 'candidates' must list posts: this takes what `assemble_posts` leaves.")
    return candidates_in(task.payload)


async def announce_lead(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """Tell the authors of a decision, and hand the teaser of the chosen post off to them.

    Its author is told for sure, those of the other candidates once at most.
    """
    item, lead = _decision(task.payload)
    if lead is None:
        return {"kind": "lead", "lead": None}
    post = lead.post
    news = {"job": task.job_key, "title": post.title, "reasons": [each.reason for each in lead.reasons]}
    delivered = await _deliver(ctx, post.author, {**news, "chosen": True})
    others = {each.author: each for each in candidates_in(item) if each.author not in ("", post.author)}
    told = [await _tell(ctx, each, {**news, "chosen": False, "yours": each.title}) for each in others.values()]
    work = {**_range(item), "place": post.place}
    return {
        "kind": "lead",
        "lead": lead.model_dump(mode="json"),
        "delivered": delivered,
        "told": sum(told),
        "hand_off": {"agent": AUTHORS, "action": WRITE_TEASER, "payload": work},
    }


async def _deliver(ctx: AgentContext, author: str, news: Mapping[str, Any]) -> bool:
    if not author:
        return False
    try:
        await ctx.deliver(author, HEAR, news)
    except ColonyError as error:
        _log.info("an author was not told", author=author, reason=str(error)[:200])
        return False
    return True


async def _tell(ctx: AgentContext, other: Candidate, news: Mapping[str, Any]) -> bool:
    try:
        await ctx.tell(other.author, HEAR, news)
    except ColonyError as error:
        _log.info("an author was not told", author=other.author, reason=str(error)[:200])
        return False
    return True


async def hear_choice(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """Remember which post was chosen, one entry a job however often it is heard; False where there is no memory."""
    job, title = (one_line(str(task.payload.get(name) or ""), _LONGEST) for name in ("job", "title"))
    if not job or not title:
        raise BadInput("Fields 'job' and 'title' must say which post of which job was chosen.")
    said: Any = task.payload.get("reasons")
    listed = cast("list[Any]", said if isinstance(said, list) else [])
    reasons = "; ".join(one_line(str(each), _LONGEST) for each in listed[:10])
    chosen = task.payload.get("chosen") is True
    mine = "My post" if chosen else "Another post"
    text = storable(f"{mine} {title!r} was chosen to lead the index{f': {reasons}' if reasons else ''}.")
    if not ctx.memory.enabled:
        return {"kept": False}
    try:
        data = {"job": storable(job), "chosen": chosen}
        await ctx.memory.add(
            text[: ctx.memory.max_text], scope="agent", label=_LABEL, key=storable(f"lead {job}"[:500]), data=data
        )
    except (NoMemory, ModelRefused, BudgetSpent, NotPermitted):  # an agent works as well without it
        return {"kept": False}
    return {"kept": True}


async def write_teaser(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The teaser of a post: its first sentence with a footing, in a model's words where there is one and they hold."""
    one = await _post_at(task, ctx, whole_number(task.payload, "place"))
    texts = {passage.number: passage for passage in one.passages}
    first = next((each for each in one.post.all_sentences() if each.cites in texts), None)
    if first is None:
        raise BadInput("The post cites nothing that a teaser could say.")
    if not first.by:
        first = await _in_words(task, ctx, one, first)
    teaser = Teaser(place=task.payload["place"], text=one_line(first.text, _LONGEST), by=first.by)
    return {"kind": "teaser", **teaser.model_dump(mode="json")}


async def _in_words(task: AgentTask, ctx: AgentContext, one: Finished, first: Sentence) -> Sentence:
    """The sentence as an introduction of its own: one call of the model, no title and no sections."""
    topic = one.topic.model_copy(update={"title": one.post.title})
    alone = one.post.model_copy(update={"lead": Section(sentences=(first,)), "sections": ()})
    said = await worded(topic, alone, one.passages, ctx.llm, parameters(task, Wording))
    return next(iter(said.lead.sentences), first)


async def _post_at(task: AgentTask, ctx: AgentContext, place: int) -> Finished:
    """The post at a place among the good outcomes in the range, as `assemble_posts` counts them."""
    before = 0
    async for page in range_pages(task, ctx):
        if place < before + len(page):
            found = page[place - before]
            try:
                return Finished.model_validate({name: found[name] for name in Finished.model_fields if name in found})
            except ValidationError as error:
                raise BadInput(f"What stands at place {place} is no finished post.") from error
        before += len(page)
    raise BadInput(f"There are {before} posts, none at place {place}.")


def _decision(payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], Lead | None]:
    """What was discussed and what was decided. Raises `BadInput` for anything but the outcome of a discussion."""
    item: Any = payload.get("item")
    decision: Any = payload.get("decision")
    if not isinstance(item, Mapping) or not isinstance(decision, Mapping):
        raise BadInput("Fields 'item' and 'decision' must be those of a discussion.")
    said: Any = cast("Mapping[str, Any]", decision).get("lead")
    try:
        lead = None if said is None else Lead.model_validate(said)
    except ValidationError as error:
        raise BadInput("Field 'decision.lead' is not what `choose_lead` leaves.") from error
    return cast("Mapping[str, Any]", item), lead


def _range(item: Mapping[str, Any]) -> dict[str, Any]:
    span: Any = item.get("range")
    fields = cast("Mapping[str, Any]", span if isinstance(span, Mapping) else {})
    return {name: whole_number(fields, name) for name in ("step", "first", "end")}
