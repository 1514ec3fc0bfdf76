"""What the ledger is told of the durable messages of one host: noted as in flight, kept, done."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from colony.contracts import DurableMessage, StateRow
from colony.errors import ColonyError, Fenced
from colony.ids import Id
from colony.ledger.port import MessageLedger
from colony.messaging.port import Envelope
from ray_app.lease import LeaseKeeper
from ray_app.population import AgentCell
from ray_app.shards import ShardKeeper
from ray_app.suspects import ALONE_FROM, CRASHED_FROM

_log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 20.0
_DONE_KEPT: Final = 10_000


class MailRecords:
    """The rows of durable messages. All methods raise what the ledger raises, and `TimeoutError`."""

    def __init__(self, ledger: MessageLedger, shards: ShardKeeper, lease: LeaseKeeper) -> None:
        self._ledger = ledger
        self._shards = shards
        self._lease = lease
        self._done: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, asyncio.Future[int | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    def is_done(self, message_id: str) -> bool:
        """Whether this host saw the message end, among the last it saw."""
        return message_id in self._done

    async def begin(self, message_id: str) -> int | None:
        """Note a message as in flight here; how often it was when its host died, None if it is not open.

        One that must run alone, or not at all, is not noted. All that ask while the ledger answers go in one call.
        """
        found = self._asked.get(message_id)
        if found is None:
            found = self._asked[message_id] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._begin_all(), name="note messages")
        return await asyncio.shield(found)

    async def begin_alone(self, message_id: str) -> int | None:
        """The same for one that must run alone, now that nothing else like it runs."""
        async with asyncio.timeout(_CALL_SECONDS):
            return (await self._ledger.start_messages([message_id], self._lease.incarnation, CRASHED_FROM)).get(
                message_id
            )

    async def _begin_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._begin_some(asked)
        finally:
            self._asking = None

    async def _begin_some(self, asked: dict[str, asyncio.Future[int | None]]) -> None:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                suspects = await self._ledger.start_messages(list(asked), self._lease.incarnation, ALONE_FROM)
        except (ColonyError, TimeoutError) as error:
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # nobody may wait any more
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        else:
            for message_id, future in asked.items():
                future.set_result(suspects.get(message_id))

    async def put_back(self, message_id: str) -> None:
        """The message is not in flight here any more, but open: its next host has nothing to fear of it."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._ledger.stop_messages([message_id], self._lease.incarnation)
        except (ColonyError, TimeoutError) as error:
            # It then counts once if this host dies: no reason to do anything about it now.
            _log.info("a message stays noted as in flight", message_id=message_id, error=str(error))

    async def keep(self, message_id: str, cell: AgentCell, envelope: Envelope) -> None:
        """State is saved only with a row of the ledger: a message without one gets it now."""
        async with asyncio.timeout(_CALL_SECONDS):
            await self._ledger.put_message(
                DurableMessage(
                    message_id=message_id,
                    agent_id=cell.agent_id,
                    kind=Id(envelope.kind),
                    payload=envelope.payload,
                    sender=envelope.sender,
                    origin=envelope.origin,
                )
            )

    async def finish(
        self, message_id: str, cell: AgentCell, state: bytes | None, error: str = "", reason: str = ""
    ) -> bool:
        """Mark a message done and save what it did to its agent; False if it was done before. Raises `Fenced`."""
        row = None if state is None else StateRow(cell.agent_id, state)
        epochs = {cell.shard.number: cell.shard.epoch}
        incarnation = self._lease.incarnation
        try:
            self._check_owner(cell)
            async with asyncio.timeout(_CALL_SECONDS):
                fresh = await self._ledger.finish_message(
                    message_id, incarnation, epochs, row, error=error, reason=reason
                )
        except Fenced:
            await self._shards.verify()
            raise
        self._remember(message_id)
        return fresh

    def _check_owner(self, cell: AgentCell) -> None:
        if not self._lease.valid() or not self._shards.owns(cell.shard):
            raise Fenced(f"{self._lease.host} does not own the shard any more.")

    def _remember(self, message_id: str) -> None:
        self._done[message_id] = None
        while len(self._done) > _DONE_KEPT:
            self._done.popitem(last=False)

    async def aclose(self) -> None:
        """Ask the ledger nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
