"""Who said what in a job: calls of models and messages between agents, as a part of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from colony.contracts import Frozen

MOST_TEXT: Final = 64_000
"""Most letters of a request or an answer that the ledger takes; writers cut theirs shorter, and say so."""


class Said(StrEnum):
    """What an entry tells of."""

    MODEL = "model"
    """A call of a language model."""
    ASK = "ask"
    """A question to an agent, and its answer; each turn of a discussion is one."""
    TELL = "tell"
    DELIVER = "deliver"
    PUBLISH = "publish"
    """A word to all who hear a topic."""
    HAND_OFF = "hand_off"
    """A result that names who goes on."""
    GAP = "gap"
    """Entries that could not be kept."""


class TranscriptEntry(NamedTuple):
    """One call or message. Job, time and id are its identity: written twice it is kept once."""

    entry_id: str
    job: int
    at: float
    """When it began, in wall-clock seconds."""
    kind: str
    """A `Said`."""
    agent: str
    """Who called or sent; of a gap, the host."""
    peer: str = ""
    """To whom: an agent, `type:` and an agent type, or `topic:` and a topic. Of an answered question who answered."""
    subject: str = ""
    """Kind of the message; of a hand-off the action."""
    step: int = 0
    """With `seq` and `generation` the task it was said for, also by those whom its agent asked."""
    seq: int = 0
    generation: int = 0
    incarnation: str = ""
    """The life of the host: a task that runs again after a crash has another one."""
    seconds: float = 0.0
    request: str = ""
    """Messages to a model, as a JSON list of role and content; or the payload, as JSON unless it was cut."""
    answer: str = ""
    """Text of a model; or the payload of an answer."""
    cut: int = 0
    """Letters left out of both."""
    error: str = ""
    """Error class; empty when all went well."""
    message: str = ""
    """What the error says."""
    model: str = ""
    backend: str = ""
    """Empty where the model server does not say it."""
    tier: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache: str = ""
    """`hit`, `shared` or `miss`; empty where the model server does not say it."""
    lost: int = 0
    """Of a gap: how many entries."""


class TranscriptPlace(NamedTuple):
    """Where a page ended."""

    at: float
    entry_id: str


class TranscriptFilter(Frozen):
    """Which entries are wanted; all for one without fields."""

    agent: str = ""
    """Said by this agent, or to it."""
    step: int | None = None
    seq: int | None = None


class TranscriptTotals(NamedTuple):
    """A whole transcript in numbers."""

    entries: int = 0
    """Without gaps."""
    calls: int = 0
    """Calls of models."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lost: int = 0
    """Entries known to be missing."""


class TranscriptLedger(Protocol):
    """See the methods."""

    async def write_transcript(self, entries: Sequence[TranscriptEntry]) -> int:
        """Keep entries, each once however often it is written; returns how many were new.

        Those of a job that is not there (any more) are left out. Texts are cleaned of what a database cannot hold.
        """
        ...

    async def transcript(
        self,
        job: int,
        limit: int,
        *,
        after: TranscriptPlace | None = None,
        wanted: TranscriptFilter | None = None,
    ) -> list[TranscriptEntry]:
        """At most `limit` entries of a job by time, those behind `after`.

        While the job runs, entries may still come whose time is earlier than that of some seen before.
        """
        ...

    async def transcript_totals(self, job: int) -> TranscriptTotals:
        """How much there is; zeros for a job nobody knows."""
        ...


WHOLE: Final = TranscriptFilter()
"""Everything is wanted."""


def wants(wanted: TranscriptFilter, entry: TranscriptEntry) -> bool:
    """Whether a filter lets an entry through. Pure."""
    return (
        wanted.agent in ("", entry.agent, entry.peer)
        and wanted.step in (None, entry.step)
        and wanted.seq in (None, entry.seq)
    )
