"""One batch on one host: notes tasks as started, runs them in lanes, commits what comes out.

Lanes are added only while all others wait inside an agent: quick tasks stay on one agent after the other, so that a
commit locks few shards; slow ones spread over as many agents as may run at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from agents.base import AgentTask
from colony.clock import Clock
from colony.contracts import BatchProgress, BatchReport, BatchRequest, OutcomeRow, StepPlan, TaskRow
from colony.errors import Cancelled, HostCrashed, LostShard
from colony.ids import AgentId
from colony.ledger.port import Ledger
from ray_app.commits import CHUNK, Committer, Finished, Tally
from ray_app.lanes import SLICE_SECONDS, Lane, LaneWatch
from ray_app.lease import LeaseKeeper
from ray_app.perform import Handled, Performer
from ray_app.population import AgentCell, Population

COMMIT_SECONDS: Final = 0.25
"""Longest an outcome waits for others while quick tasks fill a chunk."""

ALONE_FROM: Final = 2
"""A task that was in flight this often when its host died runs alone."""

CRASHED_FROM: Final = 3
"""And this often, it is failed without being run."""

_RUN_LENGTH: Final = 100
"""Tasks one agent takes in a row before the next agent has its turn."""

_FIRST_NOTED: Final = 64
_LEAST_NOTED: Final = 16
_CALL_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.005


@dataclass
class Crew:
    """What all batches of one host share."""

    ledger: Ledger
    population: Population
    performer: Performer
    committer: Committer
    lease: LeaseKeeper
    watch: LaneWatch
    concurrency: int
    slots: asyncio.Semaphore
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a suspect task runs alone."""
    pace: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """(job, step) -> tasks a second, as last seen."""
    wanting: int = 0
    """Batches that wait for their first lane."""
    turn: int = 0
    """Where the next batch begins among the agents of its type."""


class _Queue:
    """Tasks noted as started that no lane has taken yet. Those of one bound agent stay together."""

    __slots__ = ("cell", "rows")

    def __init__(self, cell: AgentCell | None) -> None:
        self.cell = cell
        self.rows: deque[TaskRow] = deque()


class BatchRun:
    """One batch under way."""

    def __init__(self, request: BatchRequest, crew: Crew, clock: Clock) -> None:
        self.request = request
        self._crew = crew
        self._clock = clock
        self._tally = Tally()
        self._total = request.end - request.first
        self._cells: list[AgentCell] = []
        self._shared = _Queue(None)
        self._queues: deque[_Queue] = deque()
        self._by_agent: dict[AgentId, _Queue] = {}
        self._untaken = 0
        self._low = 0
        self._taken = 0
        self._feeding = True
        self._stop_reason = ""
        self._lanes: set[asyncio.Task[None]] = set()
        self._inside = 0
        """Lanes that wait inside an agent or for a commit."""
        self._changed = asyncio.Event()
        self._finished: list[Finished] = []
        self._oldest = 0.0
        self._dirty = asyncio.Event()
        self._committing = asyncio.Lock()
        self._error: BaseException | None = None
        self._step: StepPlan | None = None
        self._parameters: dict[str, Any] = {}

    def waiting(self) -> int:
        """Tasks taken on that do not run yet."""
        return max(0, self._total - self._taken - self._tally.skipped)

    def progress(self) -> BatchProgress:
        """How far it is, counting committed outcomes only."""
        tally = self._tally
        return BatchProgress(done=tally.settled(), failed=tally.failed, total=self._total)

    def halt(self, reason: str) -> None:
        """Begin no more tasks; what is left is explained by `reason`."""
        self._stop_reason = self._stop_reason or reason
        self._feeding = False
        self._shared.rows.clear()
        self._queues.clear()
        self._by_agent.clear()
        self._untaken = 0
        self._wake()

    def interrupt(self) -> None:
        """Stop also the tasks that run; they get no outcome."""
        self.halt(LostShard.__name__)
        for task in list(self._lanes):
            task.cancel()

    def cancel(self) -> None:
        """The job was cancelled: stop quickly."""
        self._stop_reason = Cancelled.__name__
        self.interrupt()

    async def run(self, step: StepPlan, rows: Sequence[TaskRow]) -> BatchReport:
        """Run these tasks to their end."""
        started = self._clock.monotonic()
        self._step = step
        self._tally.skipped = self._total - len(rows)
        self._prepare(step)
        mine = [row for row in rows if self._has_agent(row)]
        if len(mine) < len(rows):
            self._tally.left_reason = LostShard.__name__
        committing = asyncio.create_task(self._commit_loop(), name="commit outcomes")
        try:
            self._fail_crashed([row for row in mine if row.suspect >= CRASHED_FROM])
            await self._run_together([row for row in mine if row.suspect < ALONE_FROM])
            for row in mine:
                if ALONE_FROM <= row.suspect < CRASHED_FROM and not self._stop_reason:
                    async with self._crew.alone:
                        await self._run_alone(row)
            self._feeding = False
            await self._flush()
        finally:
            await self._stop_all(committing)
        if self._error is not None:
            raise self._error
        return self._report(self._clock.monotonic() - started, len(rows))

    def _report(self, seconds: float, asked: int) -> BatchReport:
        tally = self._tally
        left = max(0, self._total - tally.settled())
        reason = self._stop_reason or tally.left_reason or LostShard.__name__
        if seconds > 0 and asked:
            self._crew.pace[self.request.job, self.request.step] = asked / seconds
            while len(self._crew.pace) > CHUNK:
                self._crew.pace.pop(next(iter(self._crew.pace)))
        return BatchReport(
            ok=tally.ok,
            failed=tally.failed,
            skipped=tally.skipped,
            left=left,
            errors=dict(tally.errors),
            transient=tally.transient,
            left_reason=reason if left else "",
            seconds=seconds,
            cancelled=self._stop_reason == Cancelled.__name__,
        )

    def _prepare(self, step: StepPlan) -> None:
        crew = self._crew
        if step.agent_type is None or step.action is None:
            return
        kind = crew.population.kind(step.agent_type)
        kind.known()
        cells = crew.population.of_type(step.agent_type)
        begin = crew.turn % len(cells) if cells else 0
        self._cells = cells[begin:] + cells[:begin]
        self._parameters = {**kind.options, **step.parameters}

    def _has_agent(self, row: TaskRow) -> bool:
        if row.agent_id is None:
            return bool(self._cells)
        return row.agent_id in self._crew.population.agents

    def _fail_crashed(self, rows: Sequence[TaskRow]) -> None:
        for row in rows:
            cell = self._cells[0] if row.agent_id is None else self._crew.population.agents[row.agent_id]
            self._taken += 1
            message = f"The task was in flight {row.suspect} times when its host died."
            self._keep(row, cell, Handled(None, b"{}", None, HostCrashed.__name__, message, False, False, 0))

    async def _run_together(self, rows: Sequence[TaskRow]) -> None:
        if not rows:
            return
        crew = self._crew
        crew.wanting += 1
        try:
            await crew.slots.acquire()
        finally:
            crew.wanting -= 1
        try:
            first = self._start_lane(extra=False)
            await self._feed(rows)
            await asyncio.wait([first])
        finally:
            crew.slots.release()
        while self._lanes:
            await asyncio.wait(list(self._lanes))

    async def _run_alone(self, row: TaskRow) -> None:
        await self._flush()
        if self._stop_reason:
            return
        await self._note([row])
        self._feeding = False
        await asyncio.wait([self._start_lane(extra=False)])
        await self._flush()

    async def _feed(self, rows: Sequence[TaskRow]) -> None:
        """Note tasks as started a chunk ahead of the lanes: about a quarter of a second of work."""
        self._feeding = True
        began = self._clock.monotonic()
        index = 0
        pace = self._crew.pace.get((self.request.job, self.request.step), 0.0)
        while index < len(rows) and not self._stop_reason:
            size = int(min(CHUNK, max(_LEAST_NOTED, pace * COMMIT_SECONDS))) if pace else _FIRST_NOTED
            part = rows[index : index + size]
            index += len(part)
            await self._note(part)
            self._low = size // 4
            while self._untaken > self._low and not self._stop_reason and self._lanes:
                self._changed.clear()
                await self._changed.wait()
            elapsed = self._clock.monotonic() - began
            ended = self._taken - self._inside
            if elapsed > 0 and ended > 0:
                pace = ended / elapsed
        self._feeding = False
        self._wake()

    async def _note(self, rows: Sequence[TaskRow]) -> None:
        async with asyncio.timeout(_CALL_SECONDS):
            await self._crew.ledger.start_tasks(self.request, self._crew.lease.incarnation, [row.seq for row in rows])
        if self._stop_reason:
            return
        for row in rows:
            if row.agent_id is None:
                self._shared.rows.append(row)
                continue
            queue = self._by_agent.get(row.agent_id)
            if queue is None:
                cell = self._crew.population.agents.get(row.agent_id)
                if cell is None:
                    self._tally.left_reason = LostShard.__name__
                    continue
                queue = self._by_agent[row.agent_id] = _Queue(cell)
                self._queues.append(queue)
            queue.rows.append(row)
        self._untaken = len(self._shared.rows) + sum(len(queue.rows) for queue in self._by_agent.values())
        self._wake()
        self._expand()

    def _wake(self) -> None:
        self._changed.set()

    def _start_lane(self, *, extra: bool) -> asyncio.Task[None]:
        task = asyncio.create_task(self._extra_lane() if extra else self._lane(extra=False), name="lane")
        self._lanes.add(task)
        task.add_done_callback(self._lane_ended)
        return task

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        self._lanes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self.halt(type(error).__name__)
        self._wake()

    def _expand(self) -> None:
        """Add a lane if there is work and all lanes wait inside an agent. Called by the loop once lanes gave way."""
        crew = self._crew
        free = not crew.slots.locked() and not crew.wanting and len(self._lanes) < crew.concurrency
        if self._untaken and free and self._lanes and self._inside >= len(self._lanes):
            self._start_lane(extra=True)

    async def _extra_lane(self) -> None:
        async with self._crew.slots:
            await self._lane(extra=True)

    async def _lane(self, *, extra: bool) -> None:
        lane = self._crew.watch.enter()
        try:
            # An extra lane makes room for a batch that has none.
            while not (extra and self._crew.wanting) and (queue := await self._next_queue()) is not None:
                cell = queue.cell or self._choose()
                if cell is None or cell.shard.closing:
                    self._lose(queue)
                else:
                    await self._visit(lane, cell, queue)
        finally:
            self._crew.watch.leave(lane)

    async def _next_queue(self) -> _Queue | None:
        while True:
            if self._queues:
                return self._queues.popleft()
            if self._shared.rows:
                return self._shared
            if not self._feeding:
                return None
            self._changed.clear()
            await self._changed.wait()

    def _choose(self) -> AgentCell | None:
        """The next agent of the type that is free, else the next; None if all went to other hosts."""
        crew = self._crew
        busy: AgentCell | None = None
        for _ in range(len(self._cells)):
            crew.turn += 1
            cell = self._cells[crew.turn % len(self._cells)]
            if cell.shard.closing:
                continue
            if cell.running < cell.kind.config.concurrency:
                return cell
            busy = busy or cell
        return busy

    def _lose(self, queue: _Queue) -> None:
        """Its agents are not ours any more."""
        self._tally.left_reason = LostShard.__name__
        self._untaken -= len(queue.rows)
        self._taken += len(queue.rows)
        queue.rows.clear()
        if queue.cell is not None:
            self._by_agent.pop(queue.cell.agent_id, None)
        self._wake()

    async def _visit(self, lane: Lane, cell: AgentCell, queue: _Queue) -> None:
        """Run tasks of a queue on one agent, as many as are its turn."""
        if not cell.try_acquire():
            self._inside += 1
            try:
                await cell.acquire()
            finally:
                self._inside -= 1
        cell.shard.in_use += 1
        try:
            await self._work(lane, cell, queue.rows)
        finally:
            cell.shard.in_use -= 1
            cell.release()
            if queue.cell is not None:
                if queue.rows:
                    self._queues.append(queue)
                else:
                    self._by_agent.pop(queue.cell.agent_id, None)

    async def _work(self, lane: Lane, cell: AgentCell, rows: deque[TaskRow]) -> None:
        clock = self._clock
        loop = asyncio.get_running_loop()
        loop.call_soon(self._expand)
        limit = 60.0 if self._step is None else self._step.task_seconds
        give_way = clock.monotonic() + SLICE_SECONDS
        for turn in range(_RUN_LENGTH):
            # At least one task each time: lanes that only handed the agent on would do so for ever.
            if not rows or cell.shard.closing or (turn and cell.waiting):
                return
            row = rows.popleft()
            self._taken += 1
            self._untaken -= 1
            if self._untaken <= self._low:
                self._changed.set()
            self._inside += 1
            try:
                handled = await self._crew.performer.perform(lane, cell, self._task(row), limit)
                saved = self._keep(row, cell, handled)
                if saved is not None:
                    await saved
            except asyncio.CancelledError:
                self._crew.population.sleep(cell)
                raise
            finally:
                self._inside -= 1
            if clock.monotonic() >= give_way:
                await asyncio.sleep(0)
                loop.call_soon(self._expand)
                give_way = clock.monotonic() + SLICE_SECONDS

    def _task(self, row: TaskRow) -> AgentTask:
        # Validation was done when the row was written; here it would cost more than the task.
        step = self._step
        return AgentTask.model_construct(
            action=None if step is None else step.action,
            payload=orjson.loads(row.payload),
            parameters=self._parameters,
            job=self.request.job,
            step=self.request.step,
            seq=row.seq,
            generation=self.request.generation,
        )

    def _keep(self, row: TaskRow, cell: AgentCell, handled: Handled) -> asyncio.Future[None] | None:
        """Queue an outcome for its commit; returns what a stateful agent must await before it goes on."""
        if handled.left:
            self._tally.left_reason = handled.error
            return None
        outcome = OutcomeRow(
            row.seq,
            cell.agent_id,
            not handled.error,
            handled.error,
            handled.message,
            handled.transient,
            handled.value,
            handled.micros,
        )
        saved: asyncio.Future[None] | None = None
        if cell.kind.stateful or handled.state is not None:
            saved = asyncio.get_running_loop().create_future()
        cell.shard.in_use += 1
        if not self._finished:
            self._oldest = self._clock.monotonic()
            self._dirty.set()
        self._finished.append(Finished(outcome, handled.state, cell, cell.shard, saved))
        return saved

    async def _commit_loop(self) -> None:
        """Commit big chunks while quick tasks come in, and at once when all lanes wait."""
        while True:
            await self._dirty.wait()
            while (
                self._inside < len(self._lanes)
                and len(self._finished) < CHUNK
                and self._clock.monotonic() - self._oldest < COMMIT_SECONDS
            ):
                await self._clock.sleep(_POLL_SECONDS)
            await self._commit_some()

    async def _commit_some(self) -> None:
        async with self._committing:
            part = self._finished[:CHUNK]
            del self._finished[:CHUNK]
            if not self._finished:
                self._dirty.clear()
            if part:
                await self._crew.committer.commit(self.request, part, self._tally)

    async def _flush(self) -> None:
        """Return once all that finished is committed or given up."""
        while self._finished or self._committing.locked():
            await self._commit_some()

    async def _stop_all(self, committing: asyncio.Task[None]) -> None:
        committing.cancel()
        lanes = list(self._lanes)
        for task in lanes:
            task.cancel()
        await asyncio.gather(committing, *lanes, return_exceptions=True)
