"""The index of a set of posts, and the table of their quality. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydantic import Field

from agents.skills.content_alike import ALIKE, HELD, Likeness, fingerprint, nearest, standing
from agents.skills.content_checks import Check
from agents.skills.content_page import description_of, minutes_of, shown_source, tags_of
from agents.skills.content_post import Passage, Post, Topic, slug_of
from agents.skills.model_use import ModelSum, add_models
from agents.skills.report_markdown import escaped, table
from colony.contracts import Frozen

_MOST_KEPT: Final = 4_000
_SUBJECTS: Final = 12
_FAULTS: Final = {
    "short": "too short",
    "long": "too long",
    "hard": "hard to read",
    "untraced": "claims without a passage",
    "repeats": "repeats itself",
    "sources": "too few sources",
    "title": "no title",
    "alike": "a copy of another post",
}


class Finished(Frozen):
    """A post as the last map step leaves it."""

    topic: Topic
    passages: tuple[Passage, ...]
    post: Post
    check: Check
    drafts: int = 1
    """Drafts it took."""
    first_faults: tuple[str, ...] = ()
    """What was wrong with the first draft."""
    author: str = ""
    """The agent that drafted it first; empty in results of an earlier version."""


class Collection(Frozen):
    """All posts of a job, put together: what the index and the table need beyond the posts themselves."""

    posts: int
    alike: tuple[Likeness, ...] = ()
    """Of each post the one most like it among those that are published; an earlier one where that is alike enough."""
    words: int = 0
    passed: int = 0
    redone: int = 0
    models: Mapping[str, ModelSum] = Field(default_factory=dict[str, ModelSum])
    unanswered: Mapping[str, int] = Field(default_factory=dict[str, int])
    """Calls of models without an answer, by error class."""


class Slugs:
    """Names for files, each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def take(self, title: str) -> str:
        """The name for a post of this title: numbered from the second one on."""
        slug = base = slug_of(title)
        number = 1
        while slug in self._given:
            number += 1
            slug = f"{base}-{number}"
        self._given.add(slug)
        return slug


class Gathering:
    """Puts posts together one at a time, with little of each kept in memory.

    Of those that passed their checks it holds back the copies, decided in order of number among those that stand.
    """

    def __init__(self, most_alike: float = ALIKE) -> None:
        """Posts that share `most_alike` of their text are named as alike; 1 holds back no copies.

        Copies share `HELD`, or `most_alike` where that is more.
        """
        self._most_alike = most_alike
        self._prints: dict[int, list[int]] = {}
        self._posts = self._words = self._redone = 0
        self._models: dict[str, ModelSum] = {}
        self._unanswered: Counter[str] = Counter()

    @property
    def posts(self) -> int:
        """How many were taken in: the place of the next one."""
        return self._posts

    def add(self, one: Finished) -> None:
        """Take the next post in."""
        if one.check.passed:
            said = " ".join(sentence.text for sentence in one.post.all_sentences())
            self._prints[self._posts] = fingerprint(said)
        self._posts += 1
        self._words += one.check.words
        self._redone += one.drafts > 1
        self._models = add_models((self._models, one.post.models))
        self._unanswered.update(one.post.unanswered)

    def result(self) -> tuple[Collection, frozenset[int]]:
        """The collection of all that were added, and the numbers of those that are held back as copies."""
        bound = 2.0 if self._most_alike >= 1 else max(HELD, self._most_alike)
        found = standing(self._prints, bound)
        published = {place: marks for place, marks in self._prints.items() if place not in found.copies}
        alike = {each.text: each for each in nearest(published)}
        for each in found.alike.values():
            known = alike.get(each.text)
            if each.share >= self._most_alike or (known is not None and each.share >= known.share):
                alike[each.text] = each
        shown = sorted([*found.copies.values(), *alike.values()], key=lambda each: (-each.share, each.text))
        whole = Collection(
            posts=self._posts,
            alike=tuple(shown[:_MOST_KEPT]),
            words=self._words,
            passed=len(published),
            redone=self._redone,
            models=self._models,
            unanswered=dict(self._unanswered),
        )
        return whole, frozenset(found.copies)


class Row(Frozen):
    """What index and table show of one post."""

    title: str
    slug: str
    description: str
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    check: Check
    drafts: int
    by: str


def row_of(one: Finished, slug: str) -> Row:
    """The row of a post."""
    numbers = {sentence.cites for sentence in one.post.all_sentences()}
    sources = dict.fromkeys(shown_source(passage.source) for passage in one.passages if passage.number in numbers)
    return Row(
        title=one.post.title,
        slug=slug,
        description=description_of(one.post),
        tags=tuple(tags_of(one.topic, one.post)),
        sources=tuple(sources),
        check=one.check,
        drafts=one.drafts,
        by=one.post.worded_by() or "extracts",
    )


class Choice(Frozen):
    """The post that leads the index."""

    place: int
    teaser: str
    """Empty for the description of the post."""
    reasons: tuple[tuple[str, str], ...]
    """Agent type and reason of those who named it."""


def render_index(rows: Sequence[Row], title: str, choice: Choice | None = None) -> str:
    """The posts to publish with a line on each, then what several of them speak of; those with faults last.

    The one that was chosen comes first, unless it is none of those to publish.
    """
    good = sorted((row for row in rows if row.check.passed), key=lambda row: row.title.casefold())
    held = [row for row in rows if not row.check.passed]
    words = sum(row.check.words for row in rows)
    parts = [f"# {escaped(title)}", f"{len(rows):,} {_plural(len(rows), 'post')}, {words:,} words."]
    parts += _led(rows, choice)
    parts += ["\n".join(map(_entry, good))] if good else []
    subjects = _subjects(good)
    if subjects:
        parts.append("## By subject\n\n" + "\n".join(subjects))
    if held:
        parts.append("## Held back\n\nThese failed their checks, or are copies of others; they are marked as drafts.")
        parts.append("\n".join(map(_entry, held)))
    return "\n\n".join(parts) + "\n"


def _led(rows: Sequence[Row], choice: Choice | None) -> list[str]:
    if choice is None or choice.place >= len(rows) or not rows[choice.place].check.passed:
        return []
    row = rows[choice.place]
    reasons = [f"- {escaped(by)}: {escaped(reason)}" for by, reason in choice.reasons]
    lead = f"## Editors' choice\n\n**[{escaped(row.title)}](posts/{row.slug}.md)**"
    shown = [lead, escaped(choice.teaser or row.description), "\n".join(reasons)]
    return [*(part for part in shown if part), *(["## All posts"] if len(rows) > 1 else [])]


def _entry(row: Row) -> str:
    link = f"**[{escaped(row.title)}](posts/{row.slug}.md)**"
    return f"- {link} ({minutes_of(row.check.words)} min). {escaped(row.description)}"


def _subjects(rows: Sequence[Row]) -> list[str]:
    counts = Counter(tag.casefold() for row in rows for tag in row.tags)
    shared = [tag for tag, count in counts.most_common(_SUBJECTS) if count > 1]
    return [f"- {escaped(tag)}: {', '.join(_links(rows, tag))}" for tag in shared]


def _links(rows: Iterable[Row], tag: str) -> list[str]:
    return [
        f"[{escaped(row.title)}](posts/{row.slug}.md)" for row in rows if tag in {each.casefold() for each in row.tags}
    ]


def render_quality(
    rows: Sequence[Row],
    whole: Collection,
    left_out: Mapping[str, int],
    sections: Sequence[str],
    most_alike: float = ALIKE,
) -> str:
    """The table of quality, posts that are alike, what models did, then `sections` on the run."""
    held = whole.posts - whole.passed
    redone = f"{whole.redone:,} went back once"
    parts = [
        "# Quality of the posts",
        f"**{whole.passed:,} of {whole.posts:,} posts passed all checks**"
        + (f", {held:,} held back" if held else "")
        + f"; {redone}; {whole.words:,} words in all.",
    ]
    if left_out:
        counts = ", ".join(f"{count:,} ({name})" for name, count in sorted(left_out.items()))
        parts.append(f"Topics that became no post: {counts}. `colony dead-letters` names them.")
    nearby = {each.text: each for each in whole.alike}
    columns = ("post", "words", "ease", "traced", "sources", "like another", "drafts", "worded by", "result")
    cells = [_cells(row, _shown(nearby.get(place), rows, most_alike)) for place, row in enumerate(rows)]
    parts.append(table(columns, cells))
    parts.append(
        "*ease*: Flesch reading ease, 60 to 70 is plain English. *traced*: sentences that their cited passage bears out"
        " in words, numbers, names and negations. *like another*: share of the text that the published post most"
        " like it has too, with its title where that is much."
    )
    pairs = {tuple(sorted((each.text, each.other))): each for each in whole.alike if each.share >= most_alike}
    copies = [each for pair, each in pairs.items() if pair[1] < len(rows)]
    if copies:
        lines = [
            f"- {escaped(rows[c.text].title)} and {escaped(rows[c.other].title)}: {c.share:.0%}" for c in copies[:50]
        ]
        parts.append("## Alike\n\n" + "\n".join(lines))
    if whole.models:
        figures = [
            (name, f"{use.answers:,}", f"{use.calls:,}", f"{use.prompt_tokens:,}", f"{use.completion_tokens:,}")
            for name, use in sorted(whole.models.items())
        ]
        parts.append(
            "## Language models\n\n" + table(("model", "answers", "calls", "tokens in", "tokens out"), figures)
        )
    if whole.unanswered:
        counts = ", ".join(f"{count:,} ({name})" for name, count in sorted(whole.unanswered.items()))
        parts.append(f"Calls without an answer, where the extract stands: {counts}.")
    return "\n\n".join([*parts, *sections]) + "\n"


def _shown(near: Likeness | None, rows: Sequence[Row], most_alike: float) -> str:
    """Share of the post that is most like this one, with its title where that is `most_alike` or more."""
    if near is None or near.other >= len(rows):
        return ""
    return f"{near.share:.0%}" + (f" {rows[near.other].title}" if near.share >= most_alike else "")


def _cells(row: Row, other: str) -> tuple[str, ...]:
    check = row.check
    result = ", ".join(_FAULTS.get(fault, fault) for fault in check.faults) or "passed"
    return (
        row.title,
        f"{check.words:,}",
        f"{check.ease:.0f}",
        f"{check.traced:.0%}",
        str(check.sources),
        other,
        str(row.drafts),
        row.by,
        result,
    )


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
