"""What agents remember in a job and find again: passages with where they stand, posts with what they say.

Memory helps and never stands in the way: where there is none, or its model refuses a text, work goes on without it.
Errors that may pass are raised, so that the task is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import orjson
import structlog

from agents.base import AgentContext, AgentTask
from agents.skills.content_alike import fingerprint, shared_share
from agents.skills.content_post import Passage, Post
from colony.contracts import Frozen
from colony.errors import BadInput, BudgetSpent, ModelRefused, NoMemory, NotPermitted
from colony.ledger.validation import storable
from colony.memory.agent_memory import MOST_DATA
from colony.memory.contracts import MOST_AT_ONCE, Note, Remembered

PASSAGE: Final = "passage"
POST: Final = "post"

_log = structlog.get_logger(__name__)

_ABSENT: Final = (NoMemory, ModelRefused, BudgetSpent, NotPermitted)
_TITLE: Final = 300
_MOST_MARKS: Final = 500
_COMPARED: Final = 30
_WORTH_COMPARING: Final = 0.5
"""Score of two texts below which they do not share half of their words."""


async def remember(task: AgentTask, ctx: AgentContext, notes: Sequence[Note]) -> bool:
    """Add to the memory of the job what fits there; False where there is no memory, or no job."""
    if not task.job or not notes or not ctx.memory.enabled:
        return False
    fitting = [note for note in notes if note.text.strip() and _fits(note, ctx.memory.max_text)]
    try:
        for at in range(0, len(fitting), MOST_AT_ONCE):
            await ctx.memory.add_all(fitting[at : at + MOST_AT_ONCE])
    except _ABSENT:
        return False
    except BadInput as error:
        _log.warning("not remembered", action=task.action[:64], job=task.job, reason=str(error)[:300])
        return False
    return True


def note_of(text: str, label: str, key: str, data: Mapping[str, Any]) -> Note:
    """A note with what no database keeps replaced, under a key of 500 characters at most."""
    plain = {name: _plain(value) for name, value in data.items()}
    return Note(text=storable(text), label=label, key=storable(key[:500]), data=plain)


def _plain(value: Any) -> Any:
    """JSON whose texts a database can hold."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {storable(str(name)): _plain(each) for name, each in fields.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    return value


def _fits(note: Note, most: int) -> bool:
    return len(note.text) <= most and len(orjson.dumps(note.data)) <= MOST_DATA


async def recalled(
    task: AgentTask, ctx: AgentContext, query: str, *, label: str, limit: int, least: float
) -> list[Remembered]:
    """What the memory of the job has on a question; nothing where there is no memory, or no job."""
    if not task.job or not ctx.memory.enabled:
        return []
    try:
        return await ctx.memory.search(query, label=label, limit=limit, least=least)
    except _ABSENT:
        return []
    except BadInput as error:
        _log.warning("not recalled", action=task.action[:64], job=task.job, reason=str(error)[:300])
        return []


async def remember_passages(task: AgentTask, ctx: AgentContext, passages: Sequence[Passage]) -> None:
    """Passages of a corpus, each once in a job however many topics they were found for."""
    notes = [
        note_of(
            passage.text,
            PASSAGE,
            f"passage {passage.place} {passage.source}",
            passage.model_dump(mode="json", exclude={"text", "number", "score"}),
        )
        for passage in passages
    ]
    await remember(task, ctx, notes)


async def more_passages(
    task: AgentTask, ctx: AgentContext, query: str, known: Sequence[Passage], *, limit: int, least: float
) -> tuple[Passage, ...]:
    """`known`, and behind them what else this job has read on a question, whatever topic it was read for."""
    found = await recalled(task, ctx, query, label=PASSAGE, limit=limit + len(known), least=least)
    there = {(passage.source, passage.place) for passage in known}
    weakest = min((passage.score for passage in known), default=1.0)
    fresh = [each for each in found if (each.data.get("source"), each.data.get("place")) not in there]
    return (
        *known,
        *(
            Passage.model_validate(
                {**each.data, "text": each.text, "number": len(known) + place, "score": weakest * each.score}
            )
            for place, each in enumerate(fresh[:limit], start=1)
        ),
    )


class Draft(NamedTuple):
    """Which draft of a job: its step and number there. Earlier ones stand, later ones give way."""

    step: int
    seq: int


class Alike(Frozen):
    """What other posts of the job say already."""

    title: str
    """Of the one that is most like this."""
    share: float
    """Of the runs of words of the shorter one that the other one has too."""
    passages: tuple[tuple[str, int], ...] = ()
    """Source and place of what all that are too much like this cite."""


async def remember_post(
    task: AgentTask, ctx: AgentContext, draft: Draft, post: Post, passages: Sequence[Passage]
) -> None:
    """A draft under its number, so that doing it again takes its place."""
    text = _text(post)
    cited = {sentence.cites for sentence in post.all_sentences()}
    data: dict[str, Any] = {
        "draft": list(draft),
        "title": post.title[:_TITLE],
        "marks": fingerprint(text)[:_MOST_MARKS],
        "passages": [],
    }
    room = MOST_DATA - len(orjson.dumps(_plain(data)))
    for place in ([storable(each.source), each.place] for each in passages if each.number in cited):
        room -= len(orjson.dumps(place)) + 1
        if room < 0:  # names of sources may be long: those cited first count
            break
        data["passages"].append(place)
    note = note_of(text[: ctx.memory.max_text], POST, f"post {draft.step} {draft.seq}", data)
    await remember(task, ctx, [note])


async def alike_posts(
    task: AgentTask, ctx: AgentContext, draft: Draft, post: Post, least: float, *, only_earlier: bool
) -> Alike | None:
    """Other posts of this job that share at least `least` with this one; None where there is none.

    With `only_earlier` only those of a lower number: of two that are alike, one stands.
    """
    text = _text(post)
    marks = fingerprint(text)[:_MOST_MARKS]
    found = await recalled(task, ctx, text[: ctx.memory.max_text], label=POST, limit=_COMPARED, least=_WORTH_COMPARING)
    others = [each for each in found if tuple(each.data.get("draft", ())) != draft]
    if only_earlier:
        others = [each for each in others if tuple(each.data.get("draft", ())) < draft]
    shares = [(shared_share(marks, each.data.get("marks", ())), each) for each in others]
    alike = sorted(((share, each) for share, each in shares if share >= least), key=lambda pair: (-pair[0], pair[1].id))
    if not alike:
        return None
    cited = {(str(source), int(place)) for _, each in alike for source, place in each.data.get("passages", ())}
    share, nearest = alike[0]
    return Alike(title=str(nearest.data.get("title", "")), share=round(share, 3), passages=tuple(sorted(cited)))


def _text(post: Post) -> str:
    return " ".join(sentence.text for sentence in post.all_sentences())
