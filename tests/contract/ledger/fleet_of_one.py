"""A job and a host to try a ledger with."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from colony.contracts import BatchRequest, OutcomeRow, StateRow
from colony.ids import AgentId, AgentType, Id, agent_name, shard_of
from colony.jobs import JobPlan, StepKind, StepPlan
from colony.ledger.port import Ledger

STEPS = (
    StepPlan(number=0, name=Id("load"), kind=StepKind.LOAD),
    StepPlan(number=1, name=Id("clean"), kind=StepKind.MAP, over=0),
    StepPlan(number=2, name=Id("classify"), kind=StepKind.MAP, over=1),
    StepPlan(number=3, name=Id("aggregate"), kind=StepKind.REDUCE, over=2),
)
AGENTS = tuple(agent_name(AgentType("analysis"), number) for number in range(8))
SHARDS_OF_AGENTS = sorted({shard_of(agent_id) for agent_id in AGENTS})

LetTimePass = Callable[[float], Awaitable[None]]

_keys = itertools.count()


async def open_job(ledger: Ledger, workflow_id: str = "reviews") -> JobPlan:
    return await ledger.open_job(f"Run-{next(_keys)}", workflow_id, "review_analysis", STEPS, None, {"limit": 3})


def payload(seq: int) -> bytes:
    return b'{"id":"%d"}' % seq


async def chunks(count: int, size: int = 3) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    for first in range(0, count, size):
        yield [(seq, payload(seq)) for seq in range(first, min(count, first + size))]


async def loaded_job(ledger: Ledger, count: int, step: int = 1) -> JobPlan:
    plan = await open_job(ledger)
    await ledger.load_source(plan.job, step, chunks(count), [])
    return plan


def batch_of(plan: JobPlan, first: int, end: int, *, step: int = 1, generation: int = 0) -> BatchRequest:
    return BatchRequest(job=plan.job, key=plan.key, step=step, generation=generation, first=first, end=end)


def agent_for(seq: int) -> AgentId:
    return AGENTS[seq % len(AGENTS)]


def good(seq: int, result: bytes | None = None) -> OutcomeRow:
    return OutcomeRow(seq, agent_for(seq), True, "", "", False, result or b'{"n":%d}' % seq, 5)


def bad(seq: int, *, transient: bool, error: str = "TaskTimeout", message: str = "too slow") -> OutcomeRow:
    return OutcomeRow(seq, agent_for(seq), False, error, message, transient, b"{}", 5)


@dataclass
class Host:
    """An incarnation that owns the shards of all agents here."""

    ledger: Ledger
    incarnation: str
    epochs: dict[int, int]

    async def commit(
        self, batch: BatchRequest, outcomes: Sequence[OutcomeRow], states: Sequence[StateRow] = ()
    ) -> list[int]:
        return await self.ledger.commit(batch, self.incarnation, self.epochs, outcomes, states)


async def start_host(ledger: Ledger, incarnation: str = "first", seconds: float = 600.0) -> Host:
    await ledger.start_lease(incarnation, "colony-host-0", seconds)
    return Host(ledger, incarnation, await ledger.claim_shards(incarnation, SHARDS_OF_AGENTS))


async def open_seqs(ledger: Ledger, batch: BatchRequest) -> list[int]:
    return [task.seq for task in await ledger.open_tasks(batch)]
