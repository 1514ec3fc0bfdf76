"""`ctx.memory`: the ledger and an embedder with the name, the scopes and the deadline of one agent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from colony.config.memory import MemoryConfig
from colony.errors import BadInput, NoMemory
from colony.ledger.memories import MemoriesLedger
from colony.ledger.validation import encode_object
from colony.llm.port import Caller
from colony.memory.contracts import (
    MOST_AT_ONCE,
    MOST_FOUND,
    Keep,
    MemoryRow,
    Note,
    Remembered,
    Scope,
    ScopeKind,
    memory_id,
)
from colony.memory.hashing import HashingEmbedder
from colony.memory.port import Embedder

MOST_DATA: Final = 16_384
"""Bytes of JSON kept with an entry."""

_AT_ONCE: Final = 2
_EMBED_SECONDS: Final = 30.0
_DAY: Final = 86_400.0


class MemoryParts:
    """What the memories of all agents in one process share.

    Few calls of the ledger at once: its connections are for outcomes first.
    """

    def __init__(self, ledger: MemoriesLedger, embedder: Embedder, config: MemoryConfig) -> None:
        self.ledger = ledger
        self.embedder = embedder
        self.config = config
        self.slots = asyncio.Semaphore(_AT_ONCE)
        self.keep = Keep(config.max_entries, config.forget == "least_used", config.keep_days * _DAY or None)


class Rememberer(NamedTuple):
    """For whom a memory is opened."""

    caller: Caller
    seconds: Callable[[], float]
    """Until nobody waits for the task any more; infinite where it has no end."""
    check: Callable[[], None]
    """Raises where this process may not speak for its agents any more."""


class AgentMemory:
    """See `agents.base.Memory`."""

    __slots__ = ("_parts", "_who")

    def __init__(self, parts: MemoryParts | None, who: Rememberer) -> None:
        """Without `parts` there is no memory."""
        self._parts = parts
        self._who = who

    @property
    def enabled(self) -> bool:
        """See `agents.base.Memory`."""
        return self._parts is not None and self._parts.config.enabled

    @property
    def max_text(self) -> int:
        """See `agents.base.Memory`."""
        return MemoryConfig().max_text if self._parts is None else self._parts.config.max_text

    async def add(
        self, text: str, *, scope: str = "job", label: str = "", key: str = "", data: Mapping[str, Any] | None = None
    ) -> str:
        """See `agents.base.Memory`."""
        if len(label) > 64 or len(key) > 500:
            raise BadInput("The label or the key of an entry is too long.", remedy="Use 64 and 500 characters at most.")
        note = Note(text=text, label=label, key=key, data=data or {})
        return (await self.add_all((note,), scope=scope))[0]

    async def add_all(self, notes: Sequence[Note], *, scope: str = "job") -> list[str]:
        """See `agents.base.Memory`."""
        parts, place = self._open(), self._scope(scope)
        if len(notes) > MOST_AT_ONCE:
            raise BadInput(f"{len(notes)} entries are more than {MOST_AT_ONCE} at once.")
        data = [_checked(note, parts.config.max_text) for note in notes]
        if not notes:
            return []
        vectors = await parts.embedder.embed([note.text for note in notes], self._who.caller, self._left())
        rows = [
            MemoryRow(memory_id(place, note), note.label, note.text, encoded, self._who.caller.agent, vector)
            for note, encoded, vector in zip(notes, data, vectors, strict=True)
        ]
        async with parts.slots:
            self._who.check()
            await parts.ledger.put_memories(place, parts.embedder.name, rows, parts.keep)
        return [row.memory.hex() for row in rows]

    async def search(
        self, query: str, *, scope: str | Sequence[str] = "job", label: str = "", limit: int = 5, least: float = 0.0
    ) -> list[Remembered]:
        """See `agents.base.Memory`."""
        parts = self._open()
        places = [self._scope(name) for name in ([scope] if isinstance(scope, str) else scope)]
        if not 1 <= limit <= MOST_FOUND:
            raise BadInput(f"A search finds 1 to {MOST_FOUND} entries, not {limit}.")
        if not query.strip() or not places:
            raise BadInput("A search needs a text and a scope.")
        # What is asked may be a whole text: its beginning says what it is about, as with entries.
        asked = _plain(query[: parts.config.max_text])
        vector = (await parts.embedder.embed([asked], self._who.caller, self._left()))[0]
        async with parts.slots:
            return await parts.ledger.search_memories(
                places, parts.embedder.name, vector, limit=limit, label=label, least=least, age=parts.keep.age
            )

    async def forget(self, memory: str, *, scope: str = "job") -> bool:
        """See `agents.base.Memory`."""
        parts, place = self._open(), self._scope(scope)
        async with parts.slots:
            self._who.check()
            return await parts.ledger.forget_memories(place, memory=parsed_id(memory)) > 0

    def _open(self) -> MemoryParts:
        if self._parts is None or not self._parts.config.enabled:
            raise NoMemory("Agents have no memory here.", remedy="Set memory.enabled in agent_config.yaml.")
        return self._parts

    def _scope(self, name: str) -> Scope:
        caller = self._who.caller
        names = {
            ScopeKind.AGENT: caller.agent,
            ScopeKind.TYPE: caller.agent_type,
            ScopeKind.JOB: caller.job,
            ScopeKind.SHARED: "",
        }
        if name not in names:
            raise BadInput(f"{name[:40]!r} is no scope.", remedy="Use agent, type, job or shared.")
        kind = ScopeKind(name)
        if not names[kind] and kind is not ScopeKind.SHARED:
            raise BadInput(f"There is no {kind} here whose memory could be used.", remedy="Name another scope.")
        return Scope(kind, names[kind])

    def _left(self) -> float:
        return max(0.001, min(_EMBED_SECONDS, self._who.seconds()))


def parsed_id(memory: str) -> bytes:
    """The id of an entry, as 32 hexadecimal digits. Raises `BadInput`."""
    try:
        found = bytes.fromhex(memory)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise BadInput(f"{memory[:80]!r} is no id of an entry.", remedy="Ids have 32 hexadecimal digits.")
    return found


def _checked(note: Note, most: int) -> bytes:
    """JSON of the note's data. Raises `BadInput` for a note that cannot be kept."""
    if not note.text.strip():
        raise BadInput("An entry needs a text.")
    if len(note.text) > most:
        raise BadInput(
            f"An entry of {len(note.text):,} characters is longer than {most:,}.",
            remedy="Cut it into passages, or raise memory.max_text.",
        )
    for name, value in (("text", note.text), ("label", note.label), ("key", note.key)):
        if _plain(value) != value:
            raise BadInput(f"The {name} of an entry has characters that no database keeps.")
    encoded = encode_object(note.data)
    if len(encoded) > MOST_DATA:
        raise BadInput(f"The data of an entry has {len(encoded):,} bytes, more than {MOST_DATA:,}.")
    return encoded


def _plain(text: str) -> str:
    """Without NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def local_memory(ledger: MemoriesLedger, caller: Caller) -> AgentMemory:
    """A memory over `ledger` with the hashing embedder and the usual limits, for agents that run in this process."""
    config = MemoryConfig()
    parts = MemoryParts(ledger, HashingEmbedder(config.dimensions), config)
    return AgentMemory(parts, Rememberer(caller, lambda: math.inf, lambda: None))
