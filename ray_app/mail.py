"""Messages to the agents of one host: taken in without waiting, handled one at a time per agent."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from agents.base import AgentTask
from colony.clock import Clock
from colony.errors import ColonyError, HostCrashed, NotFound, Overloaded
from colony.jobs import NORMAL_PRIORITY
from colony.ledger.port import Ledger
from colony.messaging.port import Envelope
from colony.telemetry.port import OFF, Tracer
from ray_app.lanes import SLICE_SECONDS, Lane, LaneWatch, end_lanes
from ray_app.lease import LeaseKeeper
from ray_app.mail_records import MailRecords
from ray_app.mailbox import AgeingQueue, Priority
from ray_app.perform import Handled, Performer
from ray_app.population import AgentCell, Population
from ray_app.shards import ShardKeeper
from ray_app.suspects import ALONE_FROM, CRASHED_FROM
from ray_app.traced import message_span
from ray_app.turns import rank_of
from ray_app.work import work_of

_log = structlog.get_logger(__name__)

Reply = Callable[[Envelope], None]

_LANES: Final = 256
_LIMIT_SECONDS: Final = 60.0


class Mail:
    """One message to one agent."""

    __slots__ = ("alone", "cell", "envelope", "held", "reply")

    def __init__(self, cell: AgentCell, envelope: Envelope, reply: Reply | None) -> None:
        self.cell = cell
        self.envelope = envelope
        self.reply = reply
        self.held = False
        """Whether the right to run on the agent was handed to this message already."""
        self.alone = False
        """Whether its host died of it, it seems: it waits for its turn to run alone."""


class MailRoom:
    """Takes messages in and has lanes handle them."""

    def __init__(
        self,
        ledger: Ledger,
        population: Population,
        performer: Performer,
        shards: ShardKeeper,
        lease: LeaseKeeper,
        watch: LaneWatch,
        clock: Clock,
        *,
        queue_length: int,
    ) -> None:
        self._records = MailRecords(ledger, shards, lease)
        self._population = population
        self._performer = performer
        self._lease = lease
        self._watch = watch
        self._clock = clock
        self._limit = queue_length
        self._ready: AgeingQueue[Mail] = AgeingQueue(queue_length)
        self._parked = 0
        self._lanes: set[asyncio.Task[None]] = set()
        self._inside = 0
        self._durable: set[str] = set()
        self._aside: deque[Mail] = deque()
        self._alone: asyncio.Task[None] | None = None
        self.open = True
        """Whether messages are taken in."""
        self._stopped = False
        self.tracer: Tracer = OFF
        """Makes the spans of messages that belong to a trace."""
        self.dropped = 0
        """Messages nobody will answer for: unknown agent, out of time, no room."""

    def waiting(self) -> int:
        """Messages not begun yet."""
        return len(self._ready) + self._parked + len(self._aside)

    def running(self) -> int:
        """Lanes that handle messages."""
        return len(self._lanes) + self._alone_runs()

    def accept(self, mail: Mail) -> None:
        """Queue a message, or refuse it. Called in the read loop; never raises."""
        deadline = mail.envelope.deadline
        if not self.open:
            self.refuse(mail.reply, NotFound(f"{self._lease.host} takes no more messages."))
        elif deadline is not None and deadline < self._clock.wall():
            self.dropped += 1
        else:
            self.take(mail)

    def refuse(self, reply: Reply | None, error: Exception) -> None:
        """Answer with an error, if somebody waits."""
        self.dropped += 1
        if reply is not None and self._lease.valid():
            reply(Envelope(kind="error", error=type(error).__name__, error_message=str(error)))

    def close(self) -> None:
        """Take no more messages."""
        self.open = False

    async def finish(self, seconds: float) -> None:
        """Wait until what was taken in is handled, at most `seconds`."""
        deadline = self._clock.monotonic() + seconds
        while (self._lanes or len(self._ready) or self._alone_runs()) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.01)

    async def aclose(self) -> None:
        """Stop at once; durable messages stay in the ledger."""
        self.open = False
        self._stopped = True
        while len(self._ready):
            self._ready.pop()
        await end_lanes(self._lanes | ({self._alone} if self._alone is not None else set()))
        await self._records.aclose()

    def _alone_runs(self) -> bool:
        return self._alone is not None and not self._alone.done()

    def full(self) -> bool:
        """Whether no more messages fit."""
        return self.waiting() >= self._limit

    def take(self, mail: Mail) -> None:
        """Queue a message unless it is here already; refuses it when there is no room."""
        message_id = mail.envelope.message_id
        if message_id and (message_id in self._durable or self._records.is_done(message_id)):
            return
        if self.full():
            self.refuse(mail.reply, Overloaded(f"{self._limit} messages wait on {self._lease.host}."))
            return
        self._ready.push(mail, _priority(mail), self._clock.monotonic())
        if message_id:
            self._durable.add(message_id)
        self._expand()

    def _expand(self) -> None:
        if len(self._ready) and not self._stopped and self._inside >= len(self._lanes) < _LANES:
            task = asyncio.create_task(self._lane(), name="mail lane")
            self._lanes.add(task)
            task.add_done_callback(self._lane_ended)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        self._lanes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a mail lane failed", error=repr(error), exc_info=error)
        self._expand()

    async def _lane(self) -> None:
        lane = self._watch.enter()
        loop = asyncio.get_running_loop()
        loop.call_soon(self._expand)
        give_way = self._clock.monotonic() + SLICE_SECONDS
        try:
            while len(self._ready):
                mail = self._ready.pop()
                if mail.held or mail.cell.try_acquire():
                    await self._handle(lane, mail)
                else:
                    self._park(mail)
                if self._clock.monotonic() >= give_way:
                    await asyncio.sleep(0)
                    loop.call_soon(self._expand)
                    give_way = self._clock.monotonic() + SLICE_SECONDS
        finally:
            self._watch.leave(lane)

    def _park(self, mail: Mail) -> None:
        """The agent is busy: come back when it is handed over, without holding a lane."""

        def turn() -> None:
            self._parked -= 1
            mail.held = True
            self._ready.push_owed(mail, _priority(mail), self._clock.monotonic())
            self._expand()

        self._parked += 1
        mail.cell.when_free(self._rank(), turn)

    def _rank(self) -> float:
        """A message stands in line for its agent like a task of the normal priority."""
        return rank_of(NORMAL_PRIORITY, self._clock.monotonic())

    async def _handle(self, lane: Lane, mail: Mail) -> None:
        cell = mail.cell
        envelope = mail.envelope
        alone = mail.alone
        self._inside += 1
        cell.shard.in_use += 1
        try:
            if envelope.deadline is not None and envelope.deadline < self._clock.wall():
                self.dropped += 1
                return
            task = AgentTask.model_construct(
                action=envelope.kind, payload=envelope.payload, parameters=cell.kind.options
            )
            cell.kind.known()
            if envelope.message_id and not await self._may_run(mail):
                return
            work = work_of(envelope.origin)
            with message_span(self.tracer, cell, task, envelope.trace) as span:
                handled = await self._performer.perform(lane, cell, task, self._allowed(envelope), work)
                if handled.error:
                    span.fail(handled.error)
            if await self._settled(mail, handled):
                self._respond(mail, handled)
        except (ColonyError, TimeoutError) as error:
            self._population.sleep(cell)
            self.refuse(mail.reply, error)
        finally:
            if mail.alone == alone:
                self._durable.discard(envelope.message_id)
            self._inside -= 1
            cell.shard.in_use -= 1
            cell.release()

    def _allowed(self, envelope: Envelope) -> float:
        if envelope.deadline is None:
            return _LIMIT_SECONDS
        return max(0.001, min(_LIMIT_SECONDS, envelope.deadline - self._clock.wall()))

    async def _may_run(self, mail: Mail) -> bool:
        """Note a durable message as in flight. False for one that is over, or that must not run here and now."""
        message_id, cell = mail.envelope.message_id, mail.cell
        suspect = await (self._records.begin_alone if mail.alone else self._records.begin)(message_id)
        if suspect is None:
            raise NotFound("The message was handled before, or never kept.")
        if suspect >= CRASHED_FROM:
            error = HostCrashed(f"The message was in flight {suspect} times when its host died.")
            _log.warning("a durable message is given up", agent=str(cell.agent_id), message_id=message_id)
            await self._records.finish(message_id, cell, None, HostCrashed.__name__, str(error))
            raise error
        if suspect >= ALONE_FROM and not mail.alone:
            self._set_aside(mail)
            return False
        return True

    def _set_aside(self, mail: Mail) -> None:
        mail.alone = True
        self._aside.append(mail)
        if not self._alone_runs():
            self._alone = asyncio.create_task(self._alone_lane(), name="mail alone")

    async def _alone_lane(self) -> None:
        """Messages that may kill the host, one at a time: no two of them may become suspect together."""
        lane = self._watch.enter()
        try:
            while self._aside and not self._stopped:
                mail = self._aside.popleft()
                await mail.cell.acquire(self._rank())
                await self._handle(lane, mail)
        finally:
            self._watch.leave(lane)

    async def _settled(self, mail: Mail, handled: Handled) -> bool:
        """Save what the message did. False if it must be handled again: nothing is said then."""
        cell = mail.cell
        message_id = mail.envelope.message_id
        if handled.error and (handled.left or handled.transient):
            if message_id:
                await self._records.put_back(message_id)
            return not message_id
        if not message_id and handled.state is None:
            return True
        if handled.error:
            _log.warning("durable message failed for good", agent=str(cell.agent_id), error=handled.error)
        if message_id:
            fresh = await self._records.finish(message_id, cell, handled.state, handled.error, handled.message)
        else:
            fresh = await self._keep(mail, handled)
        if not fresh:
            self._population.sleep(cell)
        elif cell.live is not None and handled.result is not None and handled.result.state is not None:
            cell.live.state = handled.result.state
        return True

    async def _keep(self, mail: Mail, handled: Handled) -> bool:
        # From its row on a sweep could see it: it must know that it is being handled.
        message_id = str(uuid.uuid4())
        self._durable.add(message_id)
        try:
            await self._records.keep(message_id, mail.cell, mail.envelope)
            return await self._records.finish(message_id, mail.cell, handled.state)
        finally:
            self._durable.discard(message_id)

    def _respond(self, mail: Mail, handled: Handled) -> None:
        if mail.reply is None:
            return
        if not self._lease.valid():
            self.dropped += 1
            return
        if handled.error or handled.result is None:
            mail.reply(
                Envelope(kind="error", sender=mail.cell.agent_id, error=handled.error, error_message=handled.message)
            )
            return
        mail.reply(
            Envelope.model_construct(
                kind=mail.envelope.kind, payload=dict(handled.result.value), sender=mail.cell.agent_id
            )
        )


def _priority(mail: Mail) -> Priority:
    if mail.reply is not None:
        return Priority.ASK
    return Priority.DURABLE if mail.envelope.message_id else Priority.TELL
