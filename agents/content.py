"""What agents do for a post, from its topic to the collection: the tasks of the template `content_creation`.

Each takes what the step before it left and adds to it: `topic`, `passages`, `post`, `check`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError

from agents.base import AgentContext, AgentTask
from agents.content_choice import announce_post
from agents.content_shelf import Shelf
from agents.fields import parameters, whole_number
from agents.ranges import range_pages
from agents.recollection import Alike, Draft, alike_posts, more_passages, remember_passages, remember_post
from agents.skills.content_checks import Bounds, Check, checked, word_count
from agents.skills.content_choice import Candidate, candidate_of, shortlist
from agents.skills.content_corpus import Corpus
from agents.skills.content_draft import Shape, draft_extracts
from agents.skills.content_index import Finished, Gathering
from agents.skills.content_post import Passage, Post, Topic, topic_of
from agents.skills.content_wording import Wording, worded
from agents.skills.model_use import add_models
from agents.skills.text import one_line
from colony.contracts import Frozen
from colony.errors import BadInput

_SHELF: Final = Shelf()
"""Corpora under use in this process: reading one for each of a job's topics would read every file that often."""

_MORE: Final = 8
"""Most passages that a second draft is given of what the job read for other topics."""

_NEAR: Final = 0.2
"""Score of a passage on the topic from which it is worth having."""


class _Gather(Frozen):
    corpus: str | tuple[str, ...] = ""
    passages: int = Field(default=16, ge=1, le=60)
    """Most passages gathered for a topic."""


class _Gathered(Frozen):
    topic: Topic
    passages: tuple[Passage, ...] = Field(min_length=1)


class _Drafted(_Gathered):
    post: Post
    draft: tuple[int, int] | None = None
    """Step and number of the first draft, under which the job remembers the post; None where it does not."""
    author: str = ""
    """The agent that made the first draft."""


class _Checked(_Drafted):
    check: Check
    alike: Alike | None = None
    """What earlier posts of the job say already, where it is too much."""


GATHERED_FIELDS: Final = tuple(_Gathered.model_fields)
DRAFT_FIELDS: Final = tuple(_Drafted.model_fields)
CHECK_FIELDS: Final = tuple(_Checked.model_fields)
FINISHED_FIELDS: Final = tuple(Finished.model_fields)
"""Fields of the result of each action on one post."""

M = TypeVar("M", bound=Frozen)


async def gather(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The passages of the corpus that speak of the topic in the payload.

    A payload without `topic` but with a number `n` (a generated row) takes the n-th topic the corpus itself speaks of.
    Raises `BadInput` where the corpus says nothing of the topic, and what reading it raises.
    """
    wanted = parameters(task, _Gather)
    derived = task.payload.get("topic") is None and task.payload.get("n") is not None
    topic = None if derived else topic_of(task.payload)
    corpus = await _SHELF.corpus(task, ctx, (wanted.corpus,) if isinstance(wanted.corpus, str) else wanted.corpus)
    if topic is None:
        topic = await asyncio.to_thread(_nth_topic, corpus, whole_number(task.payload, "n"))
    passages = corpus.passages_for(topic, limit=wanted.passages)
    if not passages:
        raise BadInput(
            f"The corpus says nothing of {one_line(topic.topic, 80)!r}.",
            remedy="Give a corpus that does, or leave the topic out.",
        )
    await remember_passages(task, ctx, passages)
    return _value(_Gathered(topic=topic, passages=passages))


def _nth_topic(corpus: Corpus, number: int) -> Topic:
    topics = corpus.topics
    if number >= len(topics):
        raise BadInput(
            f"The corpus has {len(topics)} topics of its own, not {number + 1}.", remedy="Ask for fewer posts."
        )
    return topics[number]


async def draft_post(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """A first draft: extracts with citations, in a language model's words where there is one and they hold.

    The job remembers its posts: what another one says already is left out where the passages have more to say.
    """
    found = _parsed(task.payload, _Gathered, "passages")
    draft = Draft(task.step, task.seq)
    extracts = await _fresh_extracts(task, ctx, found, draft)
    # Before a model takes its time: those that are drafted meanwhile see it already.
    await remember_post(task, ctx, draft, extracts, found.passages)
    post = await worded(found.topic, extracts, found.passages, ctx.llm, parameters(task, Wording))
    if post.all_sentences() != extracts.all_sentences():
        await remember_post(task, ctx, draft, post, found.passages)
    return _value(_Drafted(topic=found.topic, passages=found.passages, post=post, draft=draft, author=ctx.agent_id))


async def _fresh_extracts(task: AgentTask, ctx: AgentContext, found: _Gathered, draft: Draft) -> Post:
    """Extracts; without the passages of posts that say the same, as long as enough is left to say."""
    shape, bounds = parameters(task, Shape), parameters(task, Bounds)
    post = draft_extracts(found.topic, found.passages, shape, _today(ctx))
    if bounds.most_alike >= 1:
        return post
    alike = await alike_posts(task, ctx, draft, post, bounds.most_alike, only_earlier=False)
    unsaid = _not_of(found.passages, alike)
    if alike is None or not unsaid:
        return post
    other = draft_extracts(found.topic, unsaid, shape, post.date)
    enough = min(bounds.least_words, _words(post))
    again = await alike_posts(task, ctx, draft, other, bounds.most_alike, only_earlier=False)
    return other if again is None and _words(other) >= enough else post


def _words(post: Post) -> int:
    return sum(word_count(sentence.text) for sentence in post.all_sentences())


async def check_post(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The draft with what a check of it found, also what an earlier draft of the job says already.

    That one is alike is a reason to draft it again, no more: what is held back as a copy `assemble_posts` decides.
    """
    found = _parsed(task.payload, _Drafted, "post")
    check, alike = await _checked(task, ctx, found, found.post, found.passages)
    return _value(_Checked(**_fields(found), check=check, alike=alike))


async def _checked(
    task: AgentTask, ctx: AgentContext, drafted: _Drafted, post: Post, passages: Sequence[Passage]
) -> tuple[Check, Alike | None]:
    bounds = parameters(task, Bounds)
    check = checked(post, passages, bounds)
    if drafted.draft is None or bounds.most_alike >= 1:
        return check, None
    draft = Draft(*drafted.draft)
    alike = await alike_posts(task, ctx, draft, post, bounds.most_alike, only_earlier=True)
    return check if alike is None else check.model_copy(update={"faults": (*check.faults, "alike")}), alike


async def revise_post(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """A draft that passed, as it is; one that failed is done again with the reasons, and the better one is kept.

    What comes of it is announced to all who follow the topic of posts.
    """
    one = await _revised(task, ctx, _parsed(task.payload, _Checked, "check"))
    await announce_post(task, ctx, one)
    return _value(one)


async def _revised(task: AgentTask, ctx: AgentContext, found: _Checked) -> Finished:
    passages = found.passages if found.check.passed else await _passages_again(task, ctx, found)
    unsaid = _not_of(passages, found.alike)
    if found.check.passed or (found.check.faults == ("alike",) and not unsaid):
        # Good, or with nothing else to say.
        check = _own(found.check)
        return Finished(topic=found.topic, passages=found.passages, post=found.post, check=check, author=found.author)
    used = unsaid or passages
    shape = amended(parameters(task, Shape), found.check, parameters(task, Bounds))
    post = draft_extracts(found.topic, used, shape, found.post.date)
    # One that is only like others was worded once: a model's time is for what it can mend.
    if set(found.check.faults) != {"alike"} and not {"untraced", "repeats", "long"} & set(found.check.faults):
        post = await worded(found.topic, post, used, ctx.llm, parameters(task, Wording))
    post = post.model_copy(update={"models": add_models((found.post.models, post.models))})
    again, _ = await _checked(task, ctx, found, post, passages)
    better = len(again.faults) <= len(found.check.faults)
    if better and found.draft is not None:
        await remember_post(task, ctx, Draft(*found.draft), post, passages)
    return Finished(
        topic=found.topic,
        passages=passages if better else found.passages,
        post=post if better else found.post,
        check=_own(again if better else found.check),
        drafts=2,
        first_faults=found.check.faults,
        author=found.author,
    )


def _own(check: Check) -> Check:
    """Without what depends on other posts: which of them stand is known only when all are there."""
    return check.model_copy(update={"faults": tuple(fault for fault in check.faults if fault != "alike")})


async def _passages_again(task: AgentTask, ctx: AgentContext, found: _Checked) -> tuple[Passage, ...]:
    """The passages of a draft; where it said too little, or what was said, also what the job read for other topics."""
    if not {"short", "sources", "alike"} & set(found.check.faults):
        return found.passages
    # A passage is asked for with a passage: a few words are far from any text.
    asked = " ".join((found.topic.topic, found.topic.title, *found.topic.keywords, found.passages[0].text))
    return await more_passages(task, ctx, asked, found.passages, limit=_MORE, least=_NEAR)


def _not_of(passages: Sequence[Passage], alike: Alike | None) -> Sequence[Passage]:
    """Those that the posts which are alike do not cite."""
    cited = set[tuple[str, int]]() if alike is None else set(alike.passages)
    return [passage for passage in passages if (passage.source, passage.place) not in cited]


def amended(shape: Shape, check: Check, bounds: Bounds) -> Shape:
    """How a draft is to be made the second time, given what was wrong with the first."""
    change: dict[str, Any] = {}
    if "short" in check.faults or "sources" in check.faults:
        # Everything there is on the topic, until it is long enough.
        words = max(shape.words, round(bounds.least_words * 1.25))
        change = {"words": min(words, bounds.most_words), "sections": 20, "least_words": words}
    if "long" in check.faults:
        words = max(40, round(bounds.most_words * 0.75))
        change = {"words": min(shape.words, words), "section_words": min(shape.section_words, max(20, words // 3))}
        change["least_words"] = min(shape.least_words, words)
    if "hard" in check.faults:
        change["plain"] = True
    return Shape.model_validate({**shape.model_dump(), **change})


async def assemble_posts(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The collection of all posts in the range: sums, which are alike, held back as copies, or candidates to lead them.

    Decided in order of number and from the posts alone, so doing it again decides the same, in a retry too. The report
    reads the posts themselves.
    """
    most_alike = parameters(task, Bounds).most_alike
    together = Gathering(most_alike)
    passed: list[Candidate] = []
    async for page in range_pages(task, ctx):
        await asyncio.to_thread(_take_in, together, passed, page)
    whole, held = await asyncio.to_thread(together.result)
    span = {name: task.payload[name] for name in ("step", "first", "end")}
    # Beside the collection, where a reader of an earlier version passes over them. One letter a post: a list of numbers
    # would be too long for a result.
    marks = "".join("x" if place in held else "-" for place in range(whole.posts))
    collection = whole.model_dump(mode="json")
    best = shortlist(each for each in passed if each.place not in held)
    return {
        "kind": "posts",
        "range": span,
        "candidates": [each.model_dump(mode="json") for each in best],
        "collection": collection,
        "held": marks,
        "most_alike": most_alike,
    }


def _take_in(together: Gathering, passed: list[Candidate], page: Any) -> None:
    for value in page:
        one = _parsed(value, Finished, "post")
        if one.check.passed:
            passed.append(candidate_of(together.posts, one))
        together.add(one)


def _today(ctx: AgentContext) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ctx.clock.wall()))


def _parsed(payload: Mapping[str, Any], model: type[M], field: str) -> M:
    """What the step before left. Raises `BadInput` by field; fields it does not know are others' business."""
    known = {name: value for name, value in payload.items() if name in model.model_fields}
    if field not in known:
        raise BadInput(f"Field {field!r} is missing: this takes what the step before it leaves.")
    try:
        return model.model_validate(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"Field {where!r}: {first['msg'][:200]}.") from None


def _fields(model: Frozen) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def _value(model: Frozen) -> dict[str, Any]:
    return model.model_dump(mode="json")
