"""A post as a Markdown file with front matter, and the text that people see of an index. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.skills.content_checks import Check
from agents.skills.content_post import Passage, Post, Section, Topic
from agents.skills.phrases import keyphrases
from agents.skills.report_markdown import escaped
from agents.skills.text import one_line

_DESCRIPTION: Final = 160
_TAGS: Final = 4


def render_post(
    topic: Topic,
    post: Post,
    passages: Sequence[Passage],
    check: Check,
    slug: str,
    like: tuple[str, float] | None = None,
) -> str:
    """The file: front matter, title, lead, sections, and a footnote for each passage cited.

    `like` is the title of an earlier post that is much like it, with the share of the text. A footnote mark stands for
    the sentences before it, back to the mark before or the begin of the paragraph.
    """
    numbers = cited(post)
    texts = {passage.number: passage for passage in passages}
    parts = [f"# {escaped(post.title)}", _paragraphs(post.lead, numbers)]
    for section in post.sections:
        parts += [f"## {escaped(section.heading)}", _paragraphs(section, numbers)]
    notes = [f"[^{new}]: {_note(texts[old])}" for old, new in numbers.items() if old in texts]
    fields = front_fields(topic, post, passages, check, slug)
    if like is not None:
        fields |= {"like": like[0], "likeness": like[1]}
    matter = front_matter(fields)
    return matter + "\n" + "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def cited(post: Post) -> dict[int, int]:
    """Number of a passage -> number of its footnote, in order of use."""
    order = dict.fromkeys(sentence.cites for sentence in post.all_sentences())
    return {old: new for new, old in enumerate(order, start=1)}


def front_fields(topic: Topic, post: Post, passages: Sequence[Passage], check: Check, slug: str) -> dict[str, Any]:
    """What stands in the front matter. `draft: true` marks a post that failed its checks."""
    numbers = cited(post)
    texts = {passage.number: passage for passage in passages}
    sources = dict.fromkeys(shown_source(texts[number].source) for number in numbers if number in texts)
    return {
        "title": post.title,
        "slug": slug,
        "date": post.date,
        "topic": topic.topic,
        "description": description_of(post),
        "tags": tags_of(topic, post),
        "sources": list(sources),
        "model": post.worded_by() or "none (extracts)",
        "words": check.words,
        "reading_ease": check.ease,
        "traced": check.traced,
        "draft": not check.passed,
        **({"faults": list(check.faults)} if check.faults else {}),
    }


def front_matter(fields: Mapping[str, Any]) -> str:
    """`fields` as YAML between `---`: every text in double quotes, as JSON writes it, so nothing in it is special."""
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def description_of(post: Post) -> str:
    """The first sentences of the lead, as many as fit a line in a search result."""
    said = ""
    for sentence in post.lead.sentences:
        longer = f"{said} {sentence.text}".strip()
        if said and len(longer) > _DESCRIPTION:
            break
        said = longer
    return one_line(said, _DESCRIPTION)


def tags_of(topic: Topic, post: Post) -> list[str]:
    """Words to find it by: the keywords of its topic that it speaks of, then its own phrases."""
    text = " ".join(sentence.text for sentence in post.all_sentences())
    flat = text.casefold()
    given = [word for word in topic.keywords if word.casefold() in flat]
    own = [phrase for phrase in keyphrases(f"{topic.topic}. {text}", limit=12) if phrase in flat]
    return list(dict.fromkeys([*given, *own]))[:_TAGS]


def shown_source(source: str) -> str:
    """An address as it is; of a path the name of the file."""
    return source if source.startswith(("http://", "https://")) else source.rsplit("/", 1)[-1]


def minutes_of(words: int) -> int:
    """Minutes to read so many words, at 220 a minute."""
    return max(1, round(words / 220))


def _paragraphs(section: Section, numbers: Mapping[int, int]) -> str:
    """A paragraph for each source, with a mark after the last sentence of each passage."""
    paragraphs: list[str] = []
    line: list[str] = []
    for at, sentence in enumerate(section.sentences):
        following = section.sentences[at + 1].cites if at + 1 < len(section.sentences) else None
        line.append(escaped(sentence.text))
        if following != sentence.cites:
            line[-1] += f"[^{numbers[sentence.cites]}]"
            paragraphs.append(" ".join(line))
            line = []
    return "\n\n".join(paragraphs)


def _note(passage: Passage) -> str:
    where = escaped(passage.title) + (f", “{escaped(passage.heading)}”" if passage.heading else "")
    source = shown_source(passage.source)
    if source.startswith("http"):
        return f"{where}. <{source}>"
    return f"{where} (`{source.replace('`', '')}`, line {passage.line})."
