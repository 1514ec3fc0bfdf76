"""What an agent may use: the host's implementation of `AgentContext`."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from agents.base import Memory, Model, Page
from colony.clock import Clock
from colony.contracts import DurableMessage
from colony.data_files import list_below, read_below
from colony.errors import BadInput, Fenced, NotPermitted
from colony.fetch import FetchedPage
from colony.ids import AgentId, AgentType, Id, agent_subject, topic_subject, type_subject
from colony.ledger.port import Ledger
from colony.ledger.transcripts import Said
from colony.llm.port import Caller, LanguageModel
from colony.llm.trace import traceparent
from colony.memory.agent_memory import AgentMemory, MemoryParts, Rememberer
from colony.messaging.durable import deliver
from colony.messaging.port import Envelope, Messenger
from ray_app.agent_model import AgentModel, Limits
from ray_app.population import AgentCell, LiveAgent
from ray_app.transcripts import TranscriptBook
from ray_app.witness import Witness
from ray_app.work import Work

_NOTHING: Mapping[str, Any] = {}


class Fetcher(Protocol):
    """The guarded fetcher, as far as agents need it."""

    async def get(self, url: str, *, timeout: float | None = None, max_bytes: int | None = None) -> FetchedPage:
        """GET; raises `NotPermitted`, `Unavailable`, `DeadlineExceeded`."""
        ...


class Surroundings:
    """What all contexts of one host share. `lease_valid` says whether this host may still speak."""

    def __init__(
        self,
        ledger: Ledger,
        messenger: Messenger,
        clock: Clock,
        *,
        model: LanguageModel | None,
        model_timeout: float,
        fetcher: Fetcher | None,
        data_roots: Sequence[str],
        lease_valid: Callable[[], bool],
        memory: MemoryParts | None = None,
        transcripts: TranscriptBook | None = None,
    ) -> None:
        self.ledger = ledger
        self.messenger = messenger
        self.clock = clock
        self.fetcher = fetcher
        self.memory = memory
        self.transcripts = transcripts
        self.model = model
        self.model_timeout = model_timeout
        self._roots = tuple(Path(root) for root in data_roots)
        self._lease_valid = lease_valid

    def check_lease(self) -> None:
        """Raises `Fenced` once this host cannot prove its lease: it must not speak for its agents then."""
        if not self._lease_valid():
            raise Fenced("The lease of this host has run out.")

    def read(self, path: str) -> bytes:
        """A file below the data roots. Blocks; raises as `colony.data_files.read_below`."""
        return read_below(path, self._roots)

    def listing(self, path: str) -> list[str]:
        """The files of a folder below the data roots. Blocks; raises as `colony.data_files.list_below`."""
        return list_below(path, self._roots)


class HostContext:
    """`AgentContext` of one agent in one piece of work."""

    __slots__ = ("_around", "_cell", "_deadline", "_heard", "_job", "_key", "_tier", "_work", "live")

    def __init__(
        self,
        around: Surroundings,
        cell: AgentCell,
        work: Work,
        deadline: float = 0.0,
        *,
        tier: str = "",
        asked: bool = False,
    ) -> None:
        """`deadline` is in monotonic time, `tier` that of the step.

        `asked` says that it is a message, sent for `work`: models are called on behalf of its job then, but its
        results are not this agent's to read.
        """
        self._around = around
        self._cell = cell
        self._work = work
        self._job = 0 if asked else work.job
        self._key = work.key
        self._tier = tier or cell.kind.config.tier
        self._deadline = deadline
        self._heard: Witness | None = None
        self.live: LiveAgent | None = None
        """The agent this is for, once it is awake. Its cell may forget it while it runs."""

    @property
    def agent_id(self) -> AgentId:
        """See `AgentContext`."""
        return self._cell.agent_id

    @property
    def clock(self) -> Clock:
        """See `AgentContext`."""
        return self._around.clock

    @property
    def llm(self) -> Model:
        """See `AgentContext`."""
        around = self._around
        model = None if around.model is None else self._witness().listening(around.model)
        limits = Limits(around.model_timeout, self._deadline)
        return AgentModel(model, around.clock, self._caller(), self._tier, limits)

    @property
    def memory(self) -> Memory:
        """See `AgentContext`."""
        return AgentMemory(self._around.memory, Rememberer(self._caller(), self._seconds, self._around.check_lease))

    @property
    def state(self) -> Mapping[str, Any]:
        """See `AgentContext`."""
        live = self.live or self._cell.live
        return _NOTHING if live is None else live.state

    async def results(self, step: int, first: int, end: int) -> Sequence[Mapping[str, Any]]:
        """See `AgentContext`. Work that came as a message has no job, so no results."""
        if self._job == 0:
            return ()
        rows = await self._around.ledger.results(self._job, step, first, end)
        return [orjson.loads(result) for _, result in rows]

    async def fetch(self, url: str, *, timeout: float = 10.0, max_bytes: int = 5_000_000) -> Page:
        """See `AgentContext`."""
        if self._around.fetcher is None:
            raise NotPermitted("This host has no fetcher.")
        found = await self._around.fetcher.get(url, timeout=timeout, max_bytes=max_bytes)
        return Page(
            url=found.url,
            status=found.status,
            content=found.content,
            content_type=found.content_type,
            seconds=found.seconds,
            certificate_expires=found.certificate_expires,
        )

    async def read_file(self, path: str) -> bytes:
        """See `AgentContext`."""
        return await asyncio.to_thread(self._around.read, path)

    async def list_files(self, path: str) -> Sequence[str]:
        """See `AgentContext`."""
        return await asyncio.to_thread(self._around.listing, path)

    async def ask(
        self, agent_id: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """See `AgentContext`."""
        if agent_id == self._cell.agent_id:
            raise BadInput(f"{agent_id} asked itself: the answer could never come.")
        deadline = self._around.clock.wall() + timeout
        envelope = self._envelope(kind, payload, deadline=deadline)
        self._around.check_lease()
        return await self._asked(agent_subject(AgentId(agent_id)), agent_id, envelope, timeout)

    async def ask_type(
        self, agent_type: str, kind: str, payload: Mapping[str, Any], *, timeout: float = 10.0
    ) -> Mapping[str, Any]:
        """See `AgentContext`."""
        envelope = self._envelope(kind, payload, deadline=self._around.clock.wall() + timeout)
        self._around.check_lease()
        return await self._asked(type_subject(AgentType(agent_type)), f"type:{agent_type}", envelope, timeout)

    async def tell(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """See `AgentContext`."""
        self._around.check_lease()
        async with self._witness().message(Said.TELL, agent_id, kind, payload):
            await self._around.messenger.tell(agent_subject(AgentId(agent_id)), self._envelope(kind, payload))

    async def deliver(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> str:
        """See `AgentContext`."""
        self._around.check_lease()
        target = AgentId(agent_id)
        message_id = str(uuid.uuid4())
        message = DurableMessage(
            message_id=message_id,
            agent_id=target,
            kind=Id(kind),
            payload=dict(payload),
            sender=self._cell.agent_id,
            origin=self._work.origin(),
        )
        async with self._witness().message(Said.DELIVER, agent_id, kind, payload):
            await deliver(self._around.ledger, self._around.messenger, message)
        return message_id

    async def publish(self, topic: str, kind: str, payload: Mapping[str, Any]) -> None:
        """See `AgentContext`."""
        subject = topic_subject(topic)
        self._around.check_lease()
        async with self._witness().message(Said.PUBLISH, f"topic:{topic}", kind, payload):
            await self._around.messenger.tell(subject, self._envelope(kind, payload))

    def handed_off(self, value: Mapping[str, Any]) -> None:
        """Note a result that names who goes on, if it does."""
        if "hand_off" in value:
            self._witness().handed_off(value)

    async def _asked(self, subject: str, peer: str, envelope: Envelope, timeout: float) -> Mapping[str, Any]:
        async with self._witness().message(Said.ASK, peer, envelope.kind, envelope.payload) as answered:
            answer = await self._around.messenger.ask(subject, envelope, timeout=timeout)
            answered.payload, answered.sender = answer.payload, answer.sender
        return answer.payload

    def _witness(self) -> Witness:
        # Made when something is said: most tasks say nothing.
        if self._heard is None:
            self._heard = Witness(self._around.transcripts, self._around.clock, self._cell.agent_id, self._work)
        return self._heard

    def _caller(self) -> Caller:
        cell = self._cell
        return Caller(agent=cell.agent_id, agent_type=cell.kind.name, job=self._key, trace=traceparent(self._key))

    def _seconds(self) -> float:
        """Until nobody waits for this piece of work any more."""
        return self._deadline - self._around.clock.monotonic() if self._deadline else math.inf

    def _envelope(self, kind: str, payload: Mapping[str, Any], *, deadline: float | None = None) -> Envelope:
        fields: dict[str, Any] = {"kind": Id(kind), "payload": dict(payload), "sender": self._cell.agent_id}
        if origin := self._work.origin():
            fields["origin"] = origin  # what is not set does not travel
        return Envelope.model_construct(deadline=deadline, **fields)
