"""Which post should lead the index: what speaks for each, who names which, and what most of them name. Pure functions.

What agents say of each other comes over a bus: it is read with care, and what is not about a candidate is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import Field, ValidationError

from agents.skills.content_index import Finished
from agents.skills.text import one_line
from colony.contracts import Frozen

_OF_EACH: Final = 3
"""Candidates for each measure: what is discussed travels with every turn."""

_TITLE: Final = 120
_REASON: Final = 200


class Candidate(Frozen):
    """A post in the figures that speak for it."""

    place: int = Field(ge=0)
    """Among the good outcomes of the step that finished the posts, from 0."""
    title: str
    author: str = ""
    """The agent that drafted it; empty where nobody knows."""
    words: int
    sources: int
    ease: float
    traced: float
    repeated: float
    drafts: int


class Nomination(Frozen):
    """Who names which post, and why."""

    place: int = Field(ge=0)
    title: str
    by: str
    """The agent type that names it."""
    reason: str


class Lead(Frozen):
    """The post that leads the index."""

    post: Candidate
    reasons: tuple[Nomination, ...]
    """Of those who named it."""
    named: int
    """Posts that anybody named."""
    voices: int
    """How many named one."""


class Teaser(Frozen):
    """What the index says of the post that leads it."""

    place: int = Field(ge=0)
    text: str
    by: str = ""
    """Name of the model that worded it; empty for an extract."""


def _by_sources(post: Candidate) -> tuple[float, ...]:
    return (-post.sources, post.place)


def _by_check(post: Candidate) -> tuple[float, ...]:
    return (-post.traced, post.repeated, post.drafts, -post.words, post.place)


def _by_ease(post: Candidate) -> tuple[float, ...]:
    return (-post.ease, post.place)


MEASURES: Final[Mapping[str, tuple[Callable[[Candidate], tuple[float, ...]], Callable[[Candidate], str]]]] = {
    "research": (_by_sources, lambda post: f"no other post draws on more sources ({post.sources})"),
    "analysis": (
        _by_check,
        lambda post: f"the best check: {post.traced:.0%} traced, {_drafts(post.drafts)}, {post.words:,} words",
    ),
    "processing": (_by_ease, lambda post: f"no other post reads more easily (Flesch {post.ease:.0f})"),
}
"""Agent type -> how it puts posts in order, best first, and how it says why."""


def _drafts(count: int) -> str:
    return "one draft" if count == 1 else f"{count} drafts"


def candidate_of(place: int, one: Finished) -> Candidate:
    """A finished post in figures."""
    check = one.check
    return Candidate(
        place=place,
        title=one_line(one.post.title, _TITLE),
        author=one.author,
        words=check.words,
        sources=check.sources,
        ease=check.ease,
        traced=check.traced,
        repeated=check.repeated,
        drafts=one.drafts,
    )


def shortlist(posts: Iterable[Candidate]) -> list[Candidate]:
    """The best by each measure, in order of number: few however many posts there are."""
    known = list(posts)
    best = {post.place: post for order, _ in MEASURES.values() for post in sorted(known, key=order)[:_OF_EACH]}
    return [best[place] for place in sorted(best)]


def nominated(by: str, posts: Sequence[Candidate]) -> Nomination | None:
    """What an agent type names; None where there is nothing to name."""
    if not posts:
        return None
    order, why = MEASURES[by]
    best = min(posts, key=order)
    return Nomination(place=best.place, title=best.title, by=by, reason=why(best))


def decided(posts: Sequence[Candidate], named: Sequence[Nomination]) -> Lead | None:
    """What most name; of several with as many voices the one with the lowest number. None where nobody names any."""
    known = {post.place: post for post in posts}
    voices = [each for each in named if each.place in known]
    counts = Counter(each.place for each in voices)
    if not counts:
        return None
    place = min(counts, key=lambda each: (-counts[each], each))
    reasons = tuple(each for each in voices if each.place == place)
    return Lead(post=known[place], reasons=reasons, named=len(counts), voices=len(voices))


def candidates_in(value: Mapping[str, Any]) -> list[Candidate]:
    """The candidates a collection of posts comes with; none in one of an earlier version."""
    listed: Any = value.get("candidates")
    found: list[Candidate] = []
    for each in cast("list[Any]", listed if isinstance(listed, list) else []):
        try:
            found.append(Candidate.model_validate(each))
        except ValidationError:  # not one that `assemble_posts` wrote: it cannot lead
            continue
    return found


def nominations_in(value: Mapping[str, Any]) -> list[Nomination]:
    """What was named in the discussion a message comes with; who was silent or said something else is passed over."""
    found: list[Nomination] = []
    for entry in _entries(value):
        said: Any = entry.get("said")
        try:
            one = Nomination.model_validate(said)
        except ValidationError:  # a silent turn has nothing to read
            continue
        update = {"by": str(entry.get("agent", "")), "reason": one_line(one.reason, _REASON)}
        found.append(one.model_copy(update=update))
    return found


def _entries(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    discussion: Any = value.get("discussion")
    if not isinstance(discussion, Mapping):
        return []
    listed: Any = cast("Mapping[str, Any]", discussion).get("transcript")
    entries = cast("list[Any]", listed if isinstance(listed, list) else [])
    return [cast("Mapping[str, Any]", each) for each in entries if isinstance(each, Mapping)]
