"""The places of a host: how many lanes may run agents at once, and the lanes that wait for their turn."""

from __future__ import annotations

import asyncio
from typing import Final

from colony.clock import Clock
from ray_app.turns import TURN_SECONDS, Claim, Turns

_NAMES: Final = "lane-{}"


class Places:
    """Shared by all batches of a host."""

    def __init__(self, count: int, clock: Clock) -> None:
        self.count = count
        self._turns = Turns(count)
        self._clock = clock
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._asked = 0

    @property
    def waiting(self) -> int:
        """Lanes that wait for a place."""
        return len(self._turns)

    async def take(self, claim: Claim, *, returning: bool = False) -> None:
        """Wait for a place; `returning` says that one is held, to be given back for it."""
        self._asked += 1
        name = _NAMES.format(self._asked)
        free = self._turns.ask(name, claim, self._clock.monotonic())
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if free:
            mine.set_result(None)
        else:
            self._asking[name] = mine
        if returning:
            # After asking: a tenant that stands in line all the time keeps its share.
            self.give_back()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_back()
            raise
        finally:
            if self._asking.pop(name, None) is not None:
                self._turns.withdraw(name)

    def give_back(self) -> None:
        """Hand a place on to whose turn it is."""
        while (name := self._turns.end(self._clock.monotonic())) is not None:
            mine = self._asking.pop(name)
            if not mine.done():
                mine.set_result(None)
                return

    def outranked(self, claim: Claim) -> bool:
        """Whether a place held for `claim` should go to one that waits."""
        return self.waiting > 0 and self._turns.outranked(claim, self._clock.monotonic())


class Place:
    """The place of one lane: taken, kept for a turn at least, given up for good or for another turn."""

    __slots__ = ("_claim", "_clock", "_held", "_places", "_since")

    def __init__(self, places: Places, claim: Claim, clock: Clock) -> None:
        self._places = places
        self._clock = clock
        self._claim = claim
        self._held = False
        self._since = 0.0

    @property
    def held(self) -> bool:
        """Whether the lane may run agents."""
        return self._held

    async def take(self) -> None:
        """Wait for the place, unless it is held."""
        if not self._held:
            await self._places.take(self._claim)
            self._hold()

    async def take_again(self) -> None:
        """Give the place up, and wait for the next turn."""
        self._held = False
        self._charge()
        await self._places.take(self._claim, returning=True)
        self._hold()

    def give_back(self) -> None:
        """Give the place up, if it is held."""
        if self._held:
            self._held = False
            self._charge()
            self._places.give_back()

    def due(self) -> bool:
        """Whether the turn is over: it was long enough, and one that waits should have the place."""
        if not self._held or not self._places.waiting:
            return False
        return self._clock.monotonic() - self._since >= TURN_SECONDS and self._places.outranked(self._claim)

    def _hold(self) -> None:
        self._held = True
        self._since = self._clock.monotonic()

    def _charge(self) -> None:
        now = self._clock.monotonic()
        self._claim.charge(now - self._since, now)
