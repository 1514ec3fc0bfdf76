"""Committing the outcomes of one batch: in chunks, fenced, one transaction at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson
import structlog

from colony.clock import Clock
from colony.contracts import BatchReport, BatchRequest, OutcomeRow, StateRow
from colony.errors import Cancelled, Fenced, LostShard, Permanent, Transient
from colony.ledger.port import JobLedger
from ray_app.lease import LeaseKeeper
from ray_app.perform import MESSAGE_LIMIT
from ray_app.population import AgentCell, ShardCell
from ray_app.shards import ShardKeeper

_log = structlog.get_logger(__name__)

CHUNK: Final = 500
"""Most outcomes of one transaction."""

_CALL_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 0.25


class Finished(NamedTuple):
    """A task that came to its end on this host, still to be committed. `shard` is the cell it ran under."""

    outcome: OutcomeRow
    state: bytes | None
    cell: AgentCell
    shard: ShardCell
    saved: asyncio.Future[None] | None
    """Told once the commit is over, for agents that must not go on before."""


def let_go(finished: Sequence[Finished]) -> None:
    """The commit of these is over, whatever came of it: their agents and shards may go on."""
    for done in finished:
        done.shard.in_use -= 1
        if done.saved is not None and not done.saved.done():
            done.saved.set_result(None)


class Tally:
    """How the tasks of one batch ended."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.skipped = 0
        self.transient = 0
        self.errors: Counter[str] = Counter()
        self.left_reason = ""
        self.retry_after = 0.0

    def leave(self, reason: str, retry_after: float) -> None:
        """A task comes back without an outcome; whoever refused it wants to be asked again after so many seconds."""
        self.left_reason = reason
        self.retry_after = max(self.retry_after, retry_after)

    def count(self, outcome: OutcomeRow) -> None:
        """One more outcome is in the ledger by our commit."""
        if outcome.ok:
            self.ok += 1
            return
        self.failed += 1
        self.errors[outcome.error] += 1
        self.transient += outcome.transient

    def settled(self) -> int:
        """Tasks that have an outcome, ours or another's."""
        return self.ok + self.failed + self.skipped

    def report(self, total: int, stop_reason: str, seconds: float) -> BatchReport:
        """What the asker of a batch of `total` tasks is told. `stop_reason` is why it was stopped, or empty."""
        left = max(0, total - self.settled())
        reason = stop_reason or self.left_reason or LostShard.__name__
        return BatchReport(
            ok=self.ok,
            failed=self.failed,
            skipped=self.skipped,
            left=left,
            errors=dict(self.errors),
            transient=self.transient,
            left_reason=reason if left else "",
            retry_after=self.retry_after if left and not stop_reason else 0.0,
            seconds=seconds,
            cancelled=stop_reason == Cancelled.__name__,
        )


class Committer:
    """Commits for one batch. What cannot be committed is left without an outcome."""

    def __init__(self, ledger: JobLedger, shards: ShardKeeper, lease: LeaseKeeper, clock: Clock) -> None:
        self._ledger = ledger
        self._shards = shards
        self._lease = lease
        self._clock = clock

    async def commit(self, batch: BatchRequest, finished: Sequence[Finished], tally: Tally) -> None:
        """Commit these; never raises for a lost shard or a database that is away: then they are left."""
        try:
            await self._commit(batch, finished, tally)
        except (Transient, TimeoutError) as error:
            tally.left_reason = LostShard.__name__ if isinstance(error, LostShard) else type(error).__name__
            _log.warning("outcomes could not be committed", count=len(finished), error=str(error))
            for done in finished:
                done.cell.live = None
        finally:
            let_go(finished)

    async def _commit(self, batch: BatchRequest, finished: Sequence[Finished], tally: Tally) -> None:
        mine = await self._still_ours(finished, tally)
        while mine:
            try:
                new = await self._write(batch, mine)
            except Fenced:
                if not await self._shards.verify():
                    raise
                mine = await self._still_ours(mine, tally)
            except Permanent as error:
                await self._split(batch, mine, tally, error)
                return
            else:
                self._count(mine, set(new), tally)
                return

    async def _still_ours(self, finished: Sequence[Finished], tally: Tally) -> list[Finished]:
        mine = [done for done in finished if self._shards.owns(done.shard)]
        if len(mine) < len(finished):
            tally.left_reason = LostShard.__name__
        return sorted(mine, key=lambda done: done.outcome.seq)

    async def _write(self, batch: BatchRequest, mine: Sequence[Finished]) -> list[int]:
        """One transaction; a database that is away for a moment is waited for while the lease lives."""
        epochs = self._shards.epochs({done.shard for done in mine})
        outcomes = [done.outcome for done in mine]
        states = [StateRow(done.outcome.agent_id, done.state) for done in mine if done.state is not None]
        while True:
            if not self._lease.valid():
                raise Fenced("The lease of this host has run out.")
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    return await self._ledger.commit(batch, self._lease.incarnation, epochs, outcomes, states)
            except Fenced:
                raise
            except (Transient, TimeoutError) as error:
                _log.warning("a commit is tried again", error=str(error))
                await self._clock.sleep(_RETRY_SECONDS)

    async def _split(self, batch: BatchRequest, mine: Sequence[Finished], tally: Tally, error: Permanent) -> None:
        """One outcome that the ledger refuses must not take its neighbours along: halve, then fail the one."""
        if len(mine) > 1:
            half = len(mine) // 2
            await self._commit(batch, mine[:half], tally)
            await self._commit(batch, mine[half:], tally)
            return
        refused = mine[0]
        if refused.outcome.error == type(error).__name__ and refused.state is None:
            raise LostShard(f"The ledger refuses even the failure: {error}")
        failure = refused.outcome._replace(
            ok=False,
            error=type(error).__name__,
            message=str(error)[:MESSAGE_LIMIT].replace("\0", ""),
            transient=False,
            result=b"{}",
        )
        await self._commit(batch, [refused._replace(outcome=failure, state=None)], tally)

    def _count(self, mine: Sequence[Finished], new: set[int], tally: Tally) -> None:
        for done in mine:
            if done.outcome.seq in new:
                tally.count(done.outcome)
                if done.state is not None and done.cell.live is not None:
                    done.cell.live.state = orjson.loads(done.state)
            else:
                # Somebody else's outcome stands, and with it another state than the one in our memory.
                tally.skipped += 1
                done.cell.live = None
