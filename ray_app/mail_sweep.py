"""Finds durable messages that the fast path missed."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from colony.clock import Clock
from colony.errors import ColonyError
from colony.ledger.port import MessageLedger
from colony.messaging.durable import envelope_of
from ray_app.mail import Mail, MailRoom
from ray_app.population import Population

_log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 20.0
_SWEEP_SECONDS: Final = 5.0
_SWEEP_ROWS: Final = 500


class MailSweep:
    """Takes undone messages of the ledger to the mail room, when shards are claimed and every 5 s."""

    def __init__(self, ledger: MessageLedger, population: Population, mail: MailRoom, clock: Clock) -> None:
        self._ledger = ledger
        self._population = population
        self._mail = mail
        self._clock = clock

    async def run(self) -> None:
        """Sweep all shards of the host every 5 s, until cancelled."""
        after = ""
        while True:
            after = await self.sweep(list(self._population.shards), after)
            await self._clock.sleep(_SWEEP_SECONDS)

    async def sweep(self, shards: list[int], after: str = "") -> str:
        """Take the undone messages of these shards in, page by page, those put after `after`.

        Ends when there are no more, or no room for them: returns after which one to go on then, so that messages
        that fail again and again do not hold up those behind them. A ledger that is away is asked again later.
        """
        while shards and self._mail.open:
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    messages = await self._ledger.open_messages(shards, _SWEEP_ROWS, after)
            except (ColonyError, TimeoutError) as error:
                _log.warning("durable messages could not be read", error=str(error))
                return after
            for message in messages:
                if self._mail.full():
                    return after
                after = message.message_id
                cell = self._population.agents.get(message.agent_id)
                if cell is not None and not cell.shard.closing and self._mail.open:
                    self._mail.take(Mail(cell, envelope_of(message), None))
            if len(messages) < _SWEEP_ROWS:
                return ""
        return ""
