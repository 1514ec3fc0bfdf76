"""The ledger: every task, outcome, durable message, desired agent, lease and shard owner.

Rows are inserted once and never changed (leases, owners, the leader and the cancel mark excepted); state is derived.
All methods raise `Unavailable` when the database cannot be reached and `DeadlineExceeded` when it does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from colony.contracts import (
    AgentSpec,
    Artifact,
    ArtifactNote,
    BadRow,
    BatchRequest,
    DeadLetter,
    DeadMessage,
    DurableMessage,
    FleetSize,
    JobState,
    JobView,
    Lead,
    Lease,
    OutcomeRow,
    ShardOwner,
    StateRow,
    StepLoad,
    TaskRow,
)
from colony.ids import AgentId, AgentType
from colony.jobs import JobPlan, Origin, SourcePin, StepPlan
from colony.ledger.histories import HistoryLedger
from colony.ledger.llm import LlmLedger
from colony.ledger.memories import MemoriesLedger
from colony.ledger.retention import RetentionLedger
from colony.ledger.sites import SiteLedger
from colony.ledger.submissions import SubmissionLedger
from colony.ledger.transcripts import TranscriptLedger


class FleetLedger(Protocol):
    """Desired agents, leases, shard ownership and the leader."""

    async def put_agents(self, agents: Sequence[AgentSpec]) -> int:
        """Add or update desired agents; returns how many rows changed."""
        ...

    async def remove_agents(self, agent_ids: Sequence[AgentId]) -> int:
        """Remove desired agents; returns how many were there."""
        ...

    async def agents(self, shards: Sequence[int] | None = None) -> list[AgentSpec]:
        """Desired agents (of some shards), ordered by id."""
        ...

    async def agent_counts(self) -> dict[AgentType, dict[int, int]]:
        """How many agents are desired, by type and shard; cheap however many there are."""
        ...

    async def fleet_version(self) -> int:
        """A number that grows with each change of the desired agents: readers poll it, then read."""
        ...

    async def start_lease(self, incarnation: str, host: str, seconds: float) -> None:
        """Open the lease of a starting host. Raises `AlreadyExists` if the incarnation had one."""
        ...

    async def renew_lease(self, incarnation: str, seconds: float) -> bool:
        """Renew; False if the lease has ended, was revoked or never was: the host must stop. Never revives."""
        ...

    async def drain_lease(self, incarnation: str) -> None:
        """Mark as draining: placement gives it no shard."""
        ...

    async def end_lease(self, incarnation: str, *, crashed: bool, lead: Lead | None = None) -> bool:
        """End a lease and free its shards (owner emptied, epoch + 1) in one transaction.

        True if this call ended it. `crashed` makes the tasks it had in flight suspect. With `lead` it happens only
        while that holder leads in that term, checked in the same transaction; raises `Fenced` else.
        """
        ...

    async def leases(self) -> list[Lease]:
        """All leases not ended by `end_lease`, also those that ran out."""
        ...

    async def claim_shards(self, incarnation: str, shards: Sequence[int]) -> dict[int, int]:
        """Take shards for a live incarnation; returns shard -> its new epoch. Raises `Fenced` without a live lease."""
        ...

    async def release_shards(self, incarnation: str, shards: Sequence[int]) -> None:
        """Give up shards still owned by this incarnation (epoch + 1); others are left alone."""
        ...

    async def shard_owners(self) -> list[ShardOwner]:
        """All shards, ordered."""
        ...

    async def lead(self, name: str, holder: str, seconds: float) -> int | None:
        """Become or stay leader: returns the term, or None while another holds it."""
        ...

    async def is_led(self, name: str) -> bool:
        """Whether anybody leads now."""
        ...

    async def leads(self, name: str, holder: str, term: int) -> bool:
        """Whether `holder` still leads in `term`."""
        ...


class JobLedger(Protocol):
    """Jobs, their tasks and what became of them."""

    async def open_job(
        self,
        key: str,
        workflow_id: str,
        template: str,
        steps: Sequence[StepPlan],
        source: SourcePin | None,
        request: Mapping[str, Any],
        origin: Origin | None = None,
        *,
        trace: str = "",
    ) -> JobPlan:
        """Write the job row once; the same key again returns the plan of the first time (retry-safe).

        `trace` is the id of its trace, where one is kept.
        """
        ...

    async def plan(self, job: int) -> JobPlan:
        """The frozen plan. Raises `NotFound`."""
        ...

    async def load_source(
        self, job: int, step: int, rows: AsyncIterator[Sequence[tuple[int, bytes]]], bad: Sequence[BadRow]
    ) -> StepLoad:
        """Write the tasks of a step from chunks of (seq, payload), and the bad rows of the source.

        Retry-safe: COPY to a temporary table, then INSERT ... ON CONFLICT DO NOTHING. `bad` is read after the last
        chunk, so a caller may fill it while the rows flow.
        """
        ...

    async def load_map(self, job: int, step: int, over: int) -> StepLoad:
        """One task for each good outcome of step `over` (seqs dense from 0, in the order of the source seq).

        The payload is the result of that outcome. Runs inside the database.
        """
        ...

    async def load_reduce(self, job: int, step: int, over: int, group: int) -> StepLoad:
        """Tasks `{"step": over, "first": a, "end": b}` covering the seqs of step `over` in groups."""
        ...

    async def load_tasks(self, job: int, step: int, tasks: Sequence[tuple[AgentId | None, bytes]]) -> StepLoad:
        """Write given tasks, some bound to an agent; seqs count from 0. Retry-safe like `load_source`."""
        ...

    async def task_count(self, job: int, step: int) -> int | None:
        """Tasks of a loaded step; None if it is not loaded."""
        ...

    async def open_tasks(self, batch: BatchRequest) -> list[TaskRow]:
        """Tasks of the range that this generation should run, ordered by seq.

        Left out: those with an outcome in this generation, those that succeeded in an earlier one and, in
        generation > 0, those whose last failure is permanent.
        """
        ...

    async def start_tasks(self, batch: BatchRequest, incarnation: str, seqs: Sequence[int]) -> None:
        """Note that a host has these in flight (one row a call): if it dies, they become suspect."""
        ...

    async def commit(
        self,
        batch: BatchRequest,
        incarnation: str,
        epochs: Mapping[int, int],
        outcomes: Sequence[OutcomeRow],
        states: Sequence[StateRow] = (),
    ) -> list[int]:
        """Commit outcomes and agent states in one transaction; returns the seqs that were new.

        `epochs` (shard -> epoch) must hold every shard of the agents in `outcomes` and `states`; all of them are
        locked FOR SHARE on incarnation and epoch first. Raises `Fenced` if one does not match: nothing is written.
        A seq that already has an outcome in this generation keeps it, and then the state of its agent is not written.
        """
        ...

    async def results(self, job: int, step: int, first: int, end: int) -> list[tuple[int, bytes]]:
        """(seq, result) of good outcomes in the range, ordered."""
        ...

    async def step_counts(self, job: int, step: int) -> tuple[int, int, int, dict[str, int]]:
        """(ok, failed, failed by an error that may pass, failed by error class), by each task's last outcome."""
        ...

    async def outcome_multiplicity(self, job: int) -> dict[int, tuple[int, int]]:
        """step -> (tasks, distinct tasks with an outcome). For the checkers of invariants I-1 and I-2."""
        ...

    async def bad_rows(self, job: int, limit: int = 100) -> tuple[int, list[BadRow]]:
        """(how many, the first ones) rows of the source that could not become tasks."""
        ...

    async def request_cancel(self, job: int) -> None:
        """Mark the job as to be cancelled."""
        ...

    async def cancel_requested(self, job: int) -> bool:
        """Whether the job is marked or closed."""
        ...

    async def close_job(self, job: int, state: JobState, reason: str = "") -> None:
        """Close the job, once; later calls change nothing."""
        ...

    async def jobs(self, limit: int = 50, *, running_only: bool = False, before: int | None = None) -> list[JobView]:
        """Jobs, newest first, without the counts of their steps; only those with a number below `before`, if given."""
        ...

    async def job(self, name: str) -> JobView:
        """One job with counts, by number, key or workflow id (the newest of that id). Raises `NotFound`."""
        ...

    async def put_artifacts(self, job: int, artifacts: Sequence[Artifact]) -> bool:
        """Keep artifacts, all of them or none; the same name again replaces it (the report of a retried activity).

        False for a job that is closed or gone: what it has stays as it is.
        """
        ...

    async def fleet_size(self) -> FleetSize:
        """Desired agents and hosts with a lease, for reports."""
        ...

    async def artifacts(self, job: int) -> list[Artifact]:
        """All artifacts of a job, by name."""
        ...

    async def artifact_notes(self, job: int) -> list[ArtifactNote]:
        """The same without their contents."""
        ...

    async def artifact(self, job: int, name: str) -> Artifact | None:
        """One artifact of a job, or None."""
        ...

    async def dead_letters(
        self, job: int | None = None, limit: int = 100, *, after: tuple[int, int, int] | None = None
    ) -> list[DeadLetter]:
        """Tasks whose last outcome is a failure: newest job first, then by step and seq.

        `after` is the (job, step, seq) of one: only those that come behind it, whether or not it is there still.
        """
        ...


class MessageLedger(Protocol):
    """Durable messages and the states of agents."""

    async def put_message(self, message: DurableMessage) -> bool:
        """Keep a message; False if the id was there already. Raises `NotFound` for an agent that is not desired."""
        ...

    async def open_messages(self, shards: Sequence[int], limit: int = 1000, after: str = "") -> list[DurableMessage]:
        """Messages of desired agents in these shards whose effect is not saved yet, oldest first.

        `after` is the id of a message: only those put later, all for one that nobody put.
        """
        ...

    async def start_messages(self, message_ids: Sequence[str], incarnation: str, below: int) -> dict[str, int]:
        """Note that a host has these in flight: if it dies, they become suspect.

        Returns how often each was in flight when its host died; those that did so `below` times or more are not
        noted, and those that are not open are left out.
        """
        ...

    async def stop_messages(self, message_ids: Sequence[str], incarnation: str) -> None:
        """A host that noted these has none of them in flight any more, though they are open still."""
        ...

    async def finish_message(
        self,
        message_id: str,
        incarnation: str,
        epochs: Mapping[int, int],
        state: StateRow | None,
        *,
        error: str = "",
        reason: str = "",
    ) -> bool:
        """Mark done and save the agent's state in one fenced transaction; False if it was done before.

        `error` is the class of the error it failed with for good, `reason` says more. Raises `Fenced` like
        `JobLedger.commit`.
        """
        ...

    async def dead_messages(self, limit: int = 100, *, after: str = "") -> list[DeadMessage]:
        """Messages that ended in a failure, the last ones first.

        `after` is the id of one: only those that ended before it; none for one that is not there any more, since the
        oldest are forgotten first.
        """
        ...

    async def states(self, agent_ids: Sequence[AgentId]) -> dict[AgentId, bytes]:
        """Saved states of those agents that have one."""
        ...


class Ledger(
    SiteLedger,
    FleetLedger,
    JobLedger,
    HistoryLedger,
    MessageLedger,
    LlmLedger,
    MemoriesLedger,
    RetentionLedger,
    SubmissionLedger,
    TranscriptLedger,
    Protocol,
):
    """The whole ledger, as one object a process holds."""

    async def ping(self) -> float:
        """Seconds of one round trip."""
        ...


AgentTypes = Mapping[AgentType, int]
"""Agents by type: how the fleet is counted."""
