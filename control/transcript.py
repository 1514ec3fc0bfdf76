"""Who said what in a job: page by page for programs, and in lines for people."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson
from pydantic import Field

from colony.contracts import JobView
from colony.errors import BadInput, NotFound
from colony.ledger.port import Ledger
from colony.ledger.transcripts import (
    Said,
    TranscriptEntry,
    TranscriptFilter,
    TranscriptPlace,
    TranscriptTotals,
)
from control.api.models import Model

CURSOR: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?~[A-Za-z0-9_-]{1,64}$"
"""What a cursor looks like."""

_SHOWN: Final = 3
_VERBS: Final = {
    Said.ASK: "asks",
    Said.TELL: "tells",
    Said.DELIVER: "delivers to",
    Said.PUBLISH: "publishes to",
    Said.HAND_OFF: "hands off to",
}


class TranscriptItem(Model):
    """One call of a model, or one message."""

    id: str
    at: float
    """When it began, in seconds since 1970."""
    kind: Said
    agent: str
    """Who called or sent; of a gap, the host."""
    peer: str
    """To whom: an agent, `type:` and an agent type, or `topic:` and a topic; of an answered question who answered."""
    subject: str
    """What the message asks for."""
    step: str
    """Name of the step, with `seq` and `generation` the task it was said for."""
    seq: int
    generation: int
    """0 for the first try of a task, 1 for the next."""
    incarnation: str
    """The life of the host: a task that runs again after a crash has another one."""
    seconds: float
    request: Any
    """Messages to a model (a list of role and content), or a payload; text where a payload was cut."""
    answer: Any
    """Text of a model, or the payload of an answer."""
    cut: int
    """Letters left out of both."""
    error: str
    """Name of the error; empty when all went well."""
    message: str
    """What the error says."""
    model: str
    backend: str
    tier: str
    prompt_tokens: int
    completion_tokens: int
    cache: str
    """`hit`, `shared` or `miss`; empty where nobody says it."""
    lost: int
    """Of a gap: how many entries could not be kept."""


class TotalsAnswer(Model):
    """A whole transcript in numbers."""

    entries: int
    calls: int
    """Calls of models."""
    prompt_tokens: int
    completion_tokens: int
    lost: int
    """Entries known to be missing."""


class TranscriptPage(Model):
    """Part of a transcript, by time."""

    items: tuple[TranscriptItem, ...] = Field(default=())
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""
    totals: TotalsAnswer


async def read_page(
    ledger: Ledger,
    view: JobView,
    limit: int,
    *,
    cursor: str = "",
    agent: str = "",
    step: str = "",
    seq: int | None = None,
) -> TranscriptPage:
    """At most `limit` entries behind `cursor`, said by or to `agent`, for a step (by name or number) and a task.

    Raises `BadInput` for a cursor that is none, `NotFound` for a step that the job does not have.
    """
    wanted = TranscriptFilter(agent=agent, step=_number(view, step) if step else None, seq=seq)
    found = await ledger.transcript(view.job, limit + 1, after=_place(cursor) if cursor else None, wanted=wanted)
    page = found[:limit]
    names = {each.number: str(each.name) for each in view.steps}
    totals: TranscriptTotals = await ledger.transcript_totals(view.job)
    return TranscriptPage(
        items=tuple(_item(entry, names) for entry in page),
        next=f"{page[-1].at!r}~{page[-1].entry_id}" if len(found) > limit else None,
        totals=TotalsAnswer(**totals._asdict()),
    )


def _number(view: JobView, step: str) -> int:
    for each in view.steps:
        if step in (each.name, str(each.number)):
            return each.number
    names = ", ".join(each.name for each in view.steps)
    raise NotFound(f"Job {view.job} has no step {step[:64]!r}.", remedy=f"Use one of: {names}.")


def _place(cursor: str) -> TranscriptPlace:
    if re.fullmatch(CURSOR, cursor) is None:
        raise BadInput("This is no cursor of a transcript.", remedy="Use `next` of the page before.")
    at, _, entry_id = cursor.partition("~")
    return TranscriptPlace(float(at), entry_id)


def _item(entry: TranscriptEntry, names: dict[int, str]) -> TranscriptItem:
    fields = entry._asdict()
    del fields["job"]
    fields.update(
        id=fields.pop("entry_id"),
        step=names.get(entry.step, str(entry.step)) if entry.kind != Said.GAP else "",
        request=_parsed(entry.request),
        answer=entry.answer if entry.kind == Said.MODEL else _parsed(entry.answer),
    )
    return TranscriptItem(**fields)


def _parsed(text: str) -> Any:
    """JSON where it still is that, else the text."""
    try:
        return orjson.loads(text) if text else ""
    except orjson.JSONDecodeError:
        return text


def spoken(page: TranscriptPage, width: int, *, whole: bool = False) -> list[str]:
    """A page in lines of at most `width` letters; long texts end after some lines unless `whole`."""
    lines: list[str] = []
    lives: dict[tuple[str, int], str] = {}
    for item in page.items:
        if item.kind is Said.GAP:
            lines += _wrapped(f"-- {item.lost:,} entries are missing: {item.agent} could not keep them --", width)
            continue
        first = lives.setdefault((item.step, item.seq), item.incarnation)
        lines += _wrapped(_heading(item, another_life=first != item.incarnation), width)
        for name, text in _texts(item):
            lines += _indented(name, text, width, _SHOWN if not whole else None)
        lines.append("")
    return [*lines, *_wrapped(_summary(page), width)]


def _heading(item: TranscriptItem, *, another_life: bool) -> str:
    time = datetime.fromtimestamp(item.at, UTC).strftime("%H:%M:%S")
    facts = [f"{time} {item.step} #{item.seq}", f"{item.agent} {_what(item)}", f"{item.seconds:.2f} s"]
    if item.generation:
        facts.append(f"try {item.generation + 1}")
    if another_life:
        facts.append(f"again on host life {item.incarnation[:8]}")
    if item.prompt_tokens or item.completion_tokens:
        facts.append(f"{item.prompt_tokens}+{item.completion_tokens} tokens")
    if item.cache and item.cache != "miss":
        facts.append(f"cache {item.cache}")
    return " · ".join(facts)


def _what(item: TranscriptItem) -> str:
    if item.kind is Said.MODEL:
        where = ", ".join(part for part in (item.tier, item.backend) if part)
        return f"calls {item.model or 'a model'}{f' ({where})' if where else ''}"
    return f"{_VERBS[item.kind]} {item.peer}: {item.subject}"


def _texts(item: TranscriptItem) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if item.kind is Said.MODEL and isinstance(cast("object", item.request), list):
        turns = cast("list[dict[str, Any]]", item.request)
        found += [(str(turn.get("role", "")), str(turn.get("content", ""))) for turn in turns]
    else:
        found.append(("says", _plain(item.request)))
    if item.answer:
        found.append(("answer", _plain(item.answer)))
    if item.error:
        found.append(("failed", f"{item.error}: {item.message}" if item.message else item.error))
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _indented(name: str, text: str, width: int, most: int | None) -> list[str]:
    start = f"  {name + ':':<10} "
    # What was said must not steer the terminal of whoever reads it.
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    lines = textwrap.wrap(clean, max(20, width - len(start)), max_lines=most, placeholder=" ...") or [""]
    return [start + lines[0], *(" " * len(start) + line for line in lines[1:])]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width), subsequent_indent="    ")


def _summary(page: TranscriptPage) -> str:
    totals = page.totals
    if not totals.entries and not totals.lost:
        return "Nothing was said, or transcripts are switched off (`ledger.transcripts`)."
    shown = sum(item.kind is not Said.GAP for item in page.items)
    said = f"{shown:,} of {totals.entries:,} entries, {totals.calls:,} calls of models with "
    said += f"{totals.prompt_tokens:,}+{totals.completion_tokens:,} tokens"
    return said + (f"; {totals.lost:,} entries are missing" if totals.lost else "") + "."
