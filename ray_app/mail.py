"""Messages to the agents of one host: taken in without waiting, handled one at a time per agent."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from agents.base import AgentTask
from colony.clock import Clock
from colony.contracts import DurableMessage, StateRow
from colony.errors import ColonyError, Fenced, NotFound, Overloaded
from colony.ids import Id
from colony.ledger.port import Ledger
from colony.messaging.durable import envelope_of
from colony.messaging.port import Envelope
from ray_app.lanes import SLICE_SECONDS, Lane, LaneWatch, end_lanes
from ray_app.lease import LeaseKeeper
from ray_app.mailbox import AgeingQueue, Priority
from ray_app.perform import Handled, Performer
from ray_app.population import AgentCell, Population
from ray_app.shards import ShardKeeper

_log = structlog.get_logger(__name__)

Reply = Callable[[Envelope], None]

_LANES: Final = 256
_LIMIT_SECONDS: Final = 60.0
_CALL_SECONDS: Final = 20.0
_SWEEP_SECONDS: Final = 5.0
_SWEEP_ROWS: Final = 500
_DONE_KEPT: Final = 10_000


class Mail:
    """One message to one agent."""

    __slots__ = ("cell", "envelope", "held", "reply")

    def __init__(self, cell: AgentCell, envelope: Envelope, reply: Reply | None) -> None:
        self.cell = cell
        self.envelope = envelope
        self.reply = reply
        self.held = False
        """Whether the right to run on the agent was handed to this message already."""


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
        self._ledger = ledger
        self._population = population
        self._performer = performer
        self._shards = shards
        self._lease = lease
        self._watch = watch
        self._clock = clock
        self._limit = queue_length
        self._ready: AgeingQueue[Mail] = AgeingQueue(queue_length)
        self._parked = 0
        self._lanes: set[asyncio.Task[None]] = set()
        self._inside = 0
        self._durable: set[str] = set()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._open = True
        self._stopped = False
        self.dropped = 0
        """Messages nobody will answer for: unknown agent, out of time, no room."""

    def waiting(self) -> int:
        """Messages not begun yet."""
        return len(self._ready) + self._parked

    def running(self) -> int:
        """Lanes that handle messages."""
        return len(self._lanes)

    def accept(self, mail: Mail) -> None:
        """Queue a message, or refuse it. Called in the read loop; never raises."""
        deadline = mail.envelope.deadline
        if not self._open:
            self.refuse(mail.reply, NotFound(f"{self._lease.host} takes no more messages."))
        elif deadline is not None and deadline < self._clock.wall():
            self.dropped += 1
        else:
            self._take(mail)

    def refuse(self, reply: Reply | None, error: Exception) -> None:
        """Answer with an error, if somebody waits."""
        self.dropped += 1
        if reply is not None and self._lease.valid():
            reply(Envelope(kind="error", error=type(error).__name__, error_message=str(error)))

    def close(self) -> None:
        """Take no more messages."""
        self._open = False

    async def finish(self, seconds: float) -> None:
        """Wait until what was taken in is handled, at most `seconds`."""
        deadline = self._clock.monotonic() + seconds
        while (self._lanes or len(self._ready)) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.01)

    async def aclose(self) -> None:
        """Stop at once; durable messages stay in the ledger."""
        self._open = False
        self._stopped = True
        while len(self._ready):
            self._ready.pop()
        await end_lanes(self._lanes)

    async def run_sweep(self) -> None:
        """Handle durable messages that the fast path missed, every 5 s, until cancelled."""
        after = ""
        while True:
            after = await self.sweep(list(self._population.shards), after)
            await self._clock.sleep(_SWEEP_SECONDS)

    async def sweep(self, shards: list[int], after: str = "") -> str:
        """Take the undone durable messages of these shards in, page by page, those put after `after`.

        Ends when there are no more, or no room for them: returns after which one to go on then, so that messages
        that fail again and again do not hold up those behind them. A ledger that is away is asked again later.
        """
        while shards and self._open:
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    messages = await self._ledger.open_messages(shards, _SWEEP_ROWS, after)
            except (ColonyError, TimeoutError) as error:
                _log.warning("durable messages could not be read", error=str(error))
                return after
            for message in messages:
                if self.waiting() >= self._limit:
                    return after
                after = message.message_id
                cell = self._population.agents.get(message.agent_id)
                if cell is not None and not cell.shard.closing and self._open:
                    self._take(Mail(cell, envelope_of(message), None))
            if len(messages) < _SWEEP_ROWS:
                return ""
        return ""

    def _take(self, mail: Mail) -> None:
        message_id = mail.envelope.message_id
        if message_id and (message_id in self._durable or message_id in self._done):
            return
        if self.waiting() >= self._limit:
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
        mail.cell.when_free(turn)

    async def _handle(self, lane: Lane, mail: Mail) -> None:
        cell = mail.cell
        envelope = mail.envelope
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
            handled = await self._performer.perform(lane, cell, task, self._allowed(envelope))
            if await self._settled(mail, handled):
                self._respond(mail, handled)
        except (ColonyError, TimeoutError) as error:
            self._population.sleep(cell)
            self.refuse(mail.reply, error)
        finally:
            self._durable.discard(envelope.message_id)
            self._inside -= 1
            cell.shard.in_use -= 1
            cell.release()

    def _allowed(self, envelope: Envelope) -> float:
        if envelope.deadline is None:
            return _LIMIT_SECONDS
        return max(0.001, min(_LIMIT_SECONDS, envelope.deadline - self._clock.wall()))

    async def _settled(self, mail: Mail, handled: Handled) -> bool:
        """Save what the message did. False if it must be handled again: nothing is said then."""
        cell = mail.cell
        message_id = mail.envelope.message_id
        if handled.error and (handled.left or handled.transient):
            return not message_id
        if not message_id and handled.state is None:
            return True
        if handled.error:
            _log.warning("durable message failed for good", agent=str(cell.agent_id), error=handled.error)
        try:
            if not message_id:
                # From its row on a sweep could see it: it must know that it is being handled.
                message_id = str(uuid.uuid4())
                self._durable.add(message_id)
                await self._keep(message_id, mail)
            fresh = await self._finish(message_id, cell, handled.state)
        except Fenced:
            await self._shards.verify()
            raise
        finally:
            self._durable.discard(message_id)
        self._remember(message_id)
        if not fresh:
            self._population.sleep(cell)
        elif cell.live is not None and handled.result is not None and handled.result.state is not None:
            cell.live.state = handled.result.state
        return True

    async def _keep(self, message_id: str, mail: Mail) -> None:
        """State is saved only with a row of the ledger: a message without one gets it now."""
        envelope = mail.envelope
        async with asyncio.timeout(_CALL_SECONDS):
            await self._ledger.put_message(
                DurableMessage(
                    message_id=message_id,
                    agent_id=mail.cell.agent_id,
                    kind=Id(envelope.kind),
                    payload=envelope.payload,
                    sender=envelope.sender,
                )
            )

    async def _finish(self, message_id: str, cell: AgentCell, state: bytes | None) -> bool:
        if not self._lease.valid() or not self._shards.owns(cell.shard):
            raise Fenced(f"{self._lease.host} does not own the shard any more.")
        row = None if state is None else StateRow(cell.agent_id, state)
        epochs = {cell.shard.number: cell.shard.epoch}
        async with asyncio.timeout(_CALL_SECONDS):
            return await self._ledger.finish_message(message_id, self._lease.incarnation, epochs, row)

    def _remember(self, message_id: str) -> None:
        self._done[message_id] = None
        while len(self._done) > _DONE_KEPT:
            self._done.popitem(last=False)

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
