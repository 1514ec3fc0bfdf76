"""Agents that look things up in sources they are given, and cite where they found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from pydantic import Field

from agents.base import AgentContext, AgentResult, AgentTask
from agents.content import GATHERED_FIELDS, gather
from agents.content_choice import NOMINATION_FIELDS, nominate_post
from agents.fields import list_of, parameters, text_of, unknown_action
from agents.recollection import PASSAGE, note_of, recalled, remember
from agents.skills.chunks import chunk_text
from agents.skills.phrases import keyphrases
from agents.skills.ranking import Hit, Passage, rank, terms
from agents.skills.text import clean_text, one_line, sentence_spans
from agents.website import PART_FIELDS, write_copy
from colony.contracts import Frozen
from colony.errors import BadInput
from colony.memory.contracts import Note

SOURCES: Final = 50
"""Most files and addresses of one task."""
_QUOTE: Final = 600
_RECALLED: Final = 0.12
"""Score of a passage on a few words from which it is worth showing; nothing in common scores 0, give or take 0.06."""


class _Search(Frozen):
    limit: int = Field(default=5, ge=1, le=50)
    passage: int = Field(default=600, ge=80, le=4_000)
    """Characters of a passage at most."""
    overlap: int = Field(default=120, ge=0)
    remember: bool = False
    """Whether the job remembers what is found, for a step that recalls it: one more write for each task."""


class Research:
    """Searches a corpus of files, addresses or passages, and quotes what answers a question."""

    actions: ClassVar[Mapping[str, str]] = {
        "search": "finds the passages of the given files, urls or passages that match a query best",
        "extract": "quotes the sentences of the sources that answer a query, each with a citation",
        "summarise": "picks the sentences of the sources that say most",
        "recall": "finds again what steps of this job with `remember: true` have cited on a query",
        "gather": "finds the passages of a corpus that speak of the topic of a post",
        "nominate_post": "names the post with most sources to lead the index",
        "write_copy": "words what the brief of a website leaves open on one page",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "search": ("query", "searched", "hits"),
        "extract": ("query", "searched", "quotes"),
        "summarise": ("searched", "phrases", "sentences"),
        "recall": ("query", "hits"),
        "gather": GATHERED_FIELDS,
        "nominate_post": NOMINATION_FIELDS,
        "write_copy": PART_FIELDS,
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        if task.action not in self.actions:
            raise unknown_action(task, self.actions)
        if task.action == "gather":
            return AgentResult(value=await gather(task, ctx))
        if task.action == "nominate_post":
            return AgentResult(value=await nominate_post(task, "research"))
        if task.action == "write_copy":
            return AgentResult(value=await write_copy(task, ctx))
        wanted = parameters(task, _Search)
        if task.action == "recall":
            return AgentResult(value=await _recall(task, ctx, wanted.limit))
        query = "" if task.action == "summarise" else text_of(task.payload, "query")
        sources = await _sources(task.payload, ctx)
        if task.action == "summarise":
            return AgentResult(value={"searched": len(sources), **_summary(_sentences(sources), wanted.limit)})
        pieces = _passages(sources, wanted) if task.action == "search" else _sentences(sources)
        hits = [_cited(hit) for hit in rank(query, pieces, limit=wanted.limit)]
        if wanted.remember:
            await remember(task, ctx, [_note(hit) for hit in hits])
        name = "hits" if task.action == "search" else "quotes"
        return AgentResult(value={"query": query, "searched": len(sources), name: hits})

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""


async def _sources(payload: Mapping[str, Any], ctx: AgentContext) -> list[tuple[str, str]]:
    """Name and text of each source. Raises `BadInput`, and what reading or fetching raises."""
    named = [(field, entry) for field in ("files", "urls") if payload.get(field) for entry in list_of(payload, field)]
    if len(named) > SOURCES:
        raise BadInput(f"{len(named)} files and urls are more than {SOURCES}.")
    found = _given(payload) if payload.get("passages") else []
    for field, name in named:
        if not isinstance(name, str):
            raise BadInput(f"Field {field!r} must list text.")
        if field == "files":
            text = (await ctx.read_file(name)).decode("utf-8", errors="replace")
        else:
            page = await ctx.fetch(name)
            if page.status >= 400:
                raise BadInput(f"{one_line(name, 200)} answers with status {page.status}.")
            text = clean_text(page.content.decode("utf-8", errors="replace"))
        found.append((name, text))
    if not found:
        raise BadInput("One of the fields 'files', 'urls' and 'passages' must name a source.")
    return found


def _given(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for index, entry in enumerate(list_of(payload, "passages")):
        if isinstance(entry, str):
            found.append((f"passage {index + 1}", entry))
        elif isinstance(entry, Mapping) and isinstance(cast("Mapping[str, Any]", entry).get("text"), str):
            fields = cast("Mapping[str, Any]", entry)
            found.append((str(fields.get("source") or f"passage {index + 1}"), str(fields["text"])))
        else:
            raise BadInput(f"Field 'passages[{index}]' must be text, or an object with 'text'.")
    return found


def _passages(sources: Sequence[tuple[str, str]], wanted: _Search) -> list[Passage]:
    overlap = min(wanted.overlap, wanted.passage - 1)
    return [
        Passage(name, chunk.start, chunk.end, chunk.text)
        for name, text in sources
        for chunk in chunk_text(text, size=wanted.passage, overlap=overlap)
    ]


def _sentences(sources: Sequence[tuple[str, str]]) -> list[Passage]:
    return [Passage(name, a, b, text[a:b]) for name, text in sources for a, b in sentence_spans(text)]


async def _recall(task: AgentTask, ctx: AgentContext, limit: int) -> dict[str, Any]:
    """What the job's memory has on the query in the payload, nearest first; none where there is no memory."""
    query = text_of(task.payload, "query")
    found = await recalled(task, ctx, query, label=PASSAGE, limit=limit, least=_RECALLED)
    hits = [{**each.data, "text": each.text, "score": round(each.score, 6)} for each in found]
    return {"query": query, "hits": hits}


def _note(cited: Mapping[str, Any]) -> Note:
    data = {name: cited[name] for name in ("source", "start", "end")}
    return note_of(cited["text"], PASSAGE, "passage {start} {end} {source}".format(**data), data)


def _cited(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text[:_QUOTE],
        "score": hit.score,
        "matched": list(hit.matched),
    }


def _summary(lines: Sequence[Passage], limit: int) -> dict[str, Any]:
    """The sentences nearest to the key phrases of the whole, in the order of the sources."""
    phrases = keyphrases("\n".join(line.text for line in lines), limit=12)
    hits = (
        rank(" ".join(phrases), [line for line in lines if len(terms(line.text)) > 2], limit=limit) if phrases else []
    )
    place = {line: index for index, line in enumerate(lines)}
    ordered = sorted(hits, key=lambda hit: place[hit.passage])
    return {"phrases": phrases, "sentences": [_cited(hit) for hit in ordered]}
