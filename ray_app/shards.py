"""Claiming, releasing and losing shards, and knowing the agents in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from colony.clock import Clock
from colony.contracts import AgentSpec
from colony.errors import ColonyError, Fenced
from colony.ids import shard_subject
from colony.ledger.port import FleetLedger
from colony.messaging.port import Envelope, Intake, Messenger
from ray_app.population import Population, ShardCell

_log = structlog.get_logger(__name__)

_DRAIN_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.01
_CALL_SECONDS: Final = 30.0
_REFRESH_SECONDS: Final = 1.0
_YIELD_EVERY: Final = 500
_FIRST_SHARDS: Final = 128
_PART_ROWS: Final = 5_000


def _deaf(_subject: str, _envelope: Envelope, _reply: object) -> None:
    """Stands in until the keeper is connected."""


def _nothing() -> None:
    """Stands in until the keeper is connected."""


class ShardKeeper:
    """Keeps the shards of one host exactly as assigned. One change at a time."""

    def __init__(
        self,
        ledger: FleetLedger,
        messenger: Messenger,
        population: Population,
        clock: Clock,
        *,
        incarnation: str,
    ) -> None:
        self._ledger = ledger
        self._messenger = messenger
        self._population = population
        self._clock = clock
        self._incarnation = incarnation
        self._intake: Intake = _deaf
        self._changed: Callable[[], None] = _nothing
        self._lock = asyncio.Lock()
        self._version = -1
        """Of the desired agents, as last read."""
        self._hurry = asyncio.Event()
        self._doubtful: set[int] = set()
        """Shards of claims that failed: the ledger may say they are ours."""

    def connect(self, intake: Intake, changed: Callable[[], None]) -> None:
        """Before the first shard: hand messages to `intake`, and say when the agents here are others."""
        self._intake = intake
        self._changed = changed

    def epochs(self, shards: Iterable[ShardCell]) -> dict[int, int]:
        """Shard -> epoch, as a commit needs it."""
        return {shard.number: shard.epoch for shard in shards}

    def owns(self, shard: ShardCell) -> bool:
        """Whether this very cell (shard and epoch) is still ours."""
        return self._population.shards.get(shard.number) is shard

    async def assign(self, shards: Sequence[int]) -> tuple[int, ...]:
        """Own exactly these: release the others once their work is done, claim the missing. Returns those claimed.

        Raises `Fenced` without a live lease.
        """
        wanted = set(shards)
        async with self._lock, asyncio.timeout(_CALL_SECONDS):
            held = self._population.shards
            surplus = [shard for number, shard in held.items() if number not in wanted]
            # One that is closing was to be released, and perhaps was: only a new claim makes it ours again.
            missing = sorted(wanted - {number for number, shard in held.items() if not shard.closing})
            stray = self._doubtful - wanted - set(held)
            if surplus or stray:
                await self._release(surplus, sorted(stray))
            if missing:
                await self._claim(missing)
            # Also those whose subscription failed in an earlier call.
            deaf = [shard for shard in self._population.shards.values() if shard.subscription is None]
            await asyncio.gather(*(self._subscribe(shard) for shard in deaf))
            if surplus or missing:
                self._changed()
        return tuple(missing)

    async def refresh(self) -> bool:
        """Read the desired agents again if they changed; True if that changed anything here."""
        async with self._lock, asyncio.timeout(_CALL_SECONDS):
            version = await self._ledger.fleet_version()
            if version == self._version:
                return False
            changed = await self._read_agents(list(self._population.shards))
            self._version = version
            if changed:
                self._changed()
        return changed

    def hear_of(self, version: int) -> None:
        """Somebody knows the desired agents in this version: read them soon if ours is older."""
        if version > self._version:
            self._hurry.set()

    async def run_refresh(self) -> None:
        """Read the desired agents every second, and as soon as a newer version is heard of, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_SECONDS):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self.refresh()
            except (ColonyError, TimeoutError) as error:
                _log.warning("desired agents could not be read", error=str(error))
                await self._clock.sleep(_REFRESH_SECONDS)

    async def verify(self) -> int:
        """Ask the ledger what is still ours and forget the rest with its memory; returns how many were lost."""
        async with self._lock, asyncio.timeout(_CALL_SECONDS):
            owners = await self._ledger.shard_owners()
            held = {owner.shard: owner.epoch for owner in owners if owner.incarnation == self._incarnation}
            lost = [cell for cell in self._population.shards.values() if held.get(cell.number) != cell.epoch]
            await self._forget(lost)
            if lost:
                _log.warning("lost shards", count=len(lost))
                self._changed()
        return len(lost)

    async def release_all(self) -> None:
        """Release everything, after the work under way is done."""
        async with self._lock:
            await self._release(list(self._population.shards.values()))

    async def drop_all(self) -> None:
        """Forget everything at once: for a host that lost its lease. Tells nobody."""
        await self._forget(list(self._population.shards.values()))

    async def _claim(self, numbers: Sequence[int]) -> None:
        self._doubtful.update(numbers)
        epochs = await self._ledger.claim_shards(self._incarnation, numbers)
        if len(epochs) != len(numbers):
            raise Fenced("The ledger gave fewer shards than were claimed.")
        # Should the agents not come, the next refresh must read them even if the fleet stays as it is.
        version, self._version = self._version, -1
        given_up = [shard for number in epochs if (shard := self._population.shards.get(number)) is not None]
        await self._forget(given_up)
        for number, epoch in epochs.items():
            self._population.add_shard(number, epoch)
        self._doubtful.difference_update(numbers)
        await self._read_agents(list(epochs))
        self._version = version

    async def _subscribe(self, shard: ShardCell) -> None:
        shard.subscription = await self._messenger.subscribe_raw(shard_subject(shard.number), self._intake)

    async def _release(self, shards: Sequence[ShardCell], stray: Sequence[int] = ()) -> None:
        """Let the work in these end, then give them up: in the ledger first, so that a failure can be made good."""
        for shard in shards:
            shard.closing = True
        await self._unsubscribe(shards)
        deadline = self._clock.monotonic() + _DRAIN_SECONDS
        while any(shard.in_use for shard in shards) and self._clock.monotonic() < deadline:
            await self._clock.sleep(_STEP_SECONDS)
        numbers = [*(shard.number for shard in shards), *stray]
        if numbers:
            await self._ledger.release_shards(self._incarnation, numbers)
        self._doubtful.difference_update(numbers)
        for shard in shards:
            self._population.drop_shard(shard.number)

    async def _forget(self, shards: Sequence[ShardCell]) -> None:
        for shard in shards:
            self._population.drop_shard(shard.number)
        await self._unsubscribe(shards)

    async def _unsubscribe(self, shards: Sequence[ShardCell]) -> None:
        running = [shard.subscription for shard in shards if shard.subscription is not None]
        for shard in shards:
            shard.subscription = None
        await asyncio.gather(*(subscription.aclose() for subscription in running))

    async def _read_agents(self, shards: Sequence[int]) -> bool:
        """Know exactly the desired agents of these shards; True if that changed something.

        A part at a time, so that no more than some thousand rows are in memory at once.
        """
        changed = False
        first, size = 0, _FIRST_SHARDS
        while first < len(shards):
            part = shards[first : first + size]
            first += len(part)
            desired = await self._ledger.agents(part)
            changed |= await self._know(part, desired)
            if len(desired) < _PART_ROWS:
                size *= 2
            elif len(desired) > 2 * _PART_ROWS:
                size = max(1, size // 2)
        return changed

    async def _know(self, shards: Sequence[int], desired: Sequence[AgentSpec]) -> bool:
        changed = False
        for index, spec in enumerate(desired):
            changed |= self._population.add_agent(spec.agent_id, spec.agent_type, spec.version)
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        keep = {spec.agent_id for spec in desired}
        for number in shards:
            shard = self._population.shards.get(number)
            gone = [] if shard is None else [name for name in shard.agents if name not in keep]
            for name in gone:
                self._population.drop_agent(name)
                changed = True
        return changed
