"""One batch on one host: notes tasks as started, runs them in lanes, commits what comes out.

Lanes are added only while all others wait inside an agent: quick tasks stay on one agent after the other, so that a
commit locks few shards; slow ones spread over as many agents as may run at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from colony.clock import Clock
from colony.contracts import BatchProgress, BatchReport, BatchRequest, TaskRow
from colony.errors import Cancelled, ColonyError, HostCrashed, LostShard
from colony.jobs import StepPlan, parameters_of
from ray_app.backlog import Backlog, TaskQueue
from ray_app.batch_lanes import BatchLanes
from ray_app.batch_tasks import note_started, task_of
from ray_app.commits import CHUNK, Tally
from ray_app.crew import Crew
from ray_app.lanes import SLICE_SECONDS, Lane, end_lanes
from ray_app.outbox import COMMIT_SECONDS, Outbox, until_saved
from ray_app.perform import Handled
from ray_app.places import Place
from ray_app.population import AgentCell
from ray_app.suspects import ALONE_FROM, CRASHED_FROM
from ray_app.traced import Performs
from ray_app.turns import Claim

_RUN_LENGTH: Final = 100
"""Tasks one agent takes in a row before the next agent has its turn."""

_FIRST_NOTED: Final = 64
_LEAST_NOTED: Final = 16


class BatchRun:
    """One batch under way."""

    def __init__(self, request: BatchRequest, crew: Crew, clock: Clock) -> None:
        self.request = request
        self.performer: Performs = crew.performer
        """Runs its tasks."""
        self._crew = crew
        self._clock = clock
        self._tally = Tally()
        self._total = request.end - request.first
        self._cells: list[AgentCell] = []
        self._backlog = Backlog(crew.population)
        self._lanes = BatchLanes(
            crew,
            clock,
            Claim(request.priority, request.tenant, clock.monotonic()),
            self._lane,
            self._lane_ended,
            lambda: self._backlog.ready,
        )
        self._outbox = Outbox(request, crew.committer, self._tally, clock, self._lanes.run)
        self._low = 0
        self._taken = 0
        self._feeding = True
        self._stop_reason = ""
        self._changed = asyncio.Event()
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
        self._backlog.clear()
        self._wake()

    def interrupt(self) -> None:
        """Stop also the tasks that run; they get no outcome."""
        self.halt(LostShard.__name__)
        self._lanes.interrupt()

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
        committing = asyncio.create_task(self._outbox.run(), name="commit outcomes")
        committing.add_done_callback(self._committing_ended)
        try:
            await self._run_all(mine)
            await self._outbox.flush()
        except (ColonyError, TimeoutError) as error:
            self._error = self._error or error
            self.interrupt()
            await end_lanes(self._lanes.tasks)
            await self._outbox.flush()
        finally:
            await self._stop_all(committing)
        if self._error is not None:
            raise self._error
        seconds = self._clock.monotonic() - started
        self._crew.note_pace((self.request.job, self.request.step), len(rows), seconds)
        return self._tally.report(self._total, self._stop_reason, seconds)

    async def _run_all(self, rows: Sequence[TaskRow]) -> None:
        self._fail_crashed([row for row in rows if row.suspect >= CRASHED_FROM])
        await self._run_together([row for row in rows if row.suspect < ALONE_FROM])
        for row in rows:
            if ALONE_FROM <= row.suspect < CRASHED_FROM and not self._stop_reason:
                async with self._crew.alone:
                    await self._run_alone(row)
        self._feeding = False

    def _prepare(self, step: StepPlan) -> None:
        crew = self._crew
        if step.agent_type is None or step.action is None:
            return
        kind = crew.population.kind(step.agent_type)
        kind.known()
        cells = crew.population.of_type(step.agent_type)
        begin = crew.population.turn % len(cells) if cells else 0
        self._cells = cells[begin:] + cells[:begin]
        self._parameters = {**kind.options, **parameters_of(step, self.request.values)}

    def _has_agent(self, row: TaskRow) -> bool:
        if row.agent_id is None:
            return bool(self._cells)
        return row.agent_id in self._crew.population.agents

    def _fail_crashed(self, rows: Sequence[TaskRow]) -> None:
        for row in rows:
            cell = self._cells[0] if row.agent_id is None else self._crew.population.agents[row.agent_id]
            self._taken += 1
            message = f"The task was in flight {row.suspect} times when its host died."
            self._outbox.put(row, cell, Handled(None, b"{}", None, HostCrashed.__name__, message, False, False, 0))

    async def _run_together(self, rows: Sequence[TaskRow]) -> None:
        if not rows:
            return
        lanes = self._lanes
        await lanes.start_first()
        await self._feed(rows)
        while lanes.tasks or (self._backlog.untaken and not self._stop_reason):
            if lanes.tasks:
                await asyncio.wait(list(lanes.tasks))
            else:
                await lanes.start_first()

    async def _run_alone(self, row: TaskRow) -> None:
        await self._outbox.flush()
        if self._stop_reason:
            return
        await self._note([row])
        self._feeding = False
        await asyncio.wait([self._lanes.start(None)])
        await self._outbox.flush()

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
            while self._backlog.untaken > self._low and not self._stop_reason and self._lanes.tasks:
                self._changed.clear()
                await self._changed.wait()
            elapsed = self._clock.monotonic() - began
            ended = self._taken - self._lanes.inside
            if elapsed > 0 and ended > 0:
                pace = ended / elapsed
        self._feeding = False
        self._wake()

    async def _note(self, rows: Sequence[TaskRow]) -> None:
        await note_started(self._crew, self._clock, self.request, rows, lambda: bool(self._stop_reason))
        if self._stop_reason:
            return
        if not self._backlog.add(rows):
            self._tally.left_reason = LostShard.__name__
        self._wake()
        self._lanes.expand()

    def _wake(self) -> None:
        self._changed.set()
        if not self._feeding and not self._backlog.untaken:
            self._lanes.dismiss()

    def _lane_ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._error = self._error or error
            self.halt(type(error).__name__)
        self._wake()

    async def _lane(self, lane: Lane, place: Place | None) -> None:
        while (queue := await self._next_queue()) is not None:
            cell = queue.cell or self._crew.population.choose(self._cells)
            if cell is None or cell.shard.closing or not self._fits(queue, cell):
                self._lose(queue)
            else:
                await self._visit(lane, cell, queue, place)
            # With nothing left it ends by itself: standing in line again would only delay the end of the batch.
            if (self._feeding or self._backlog.ready) and not await self._lanes.hand_on(lane, place):
                return

    def _fits(self, queue: TaskQueue, cell: AgentCell) -> bool:
        """Whether an agent found by its type when the batch began still is of that type."""
        return queue.cell is not None or self._step is None or cell.kind.name == self._step.agent_type

    async def _next_queue(self) -> TaskQueue | None:
        while True:
            queue = self._backlog.take()
            if queue is not None or not self._feeding:
                return queue
            self._changed.clear()
            await self._changed.wait()

    def _lose(self, queue: TaskQueue) -> None:
        """Its agents are not ours any more."""
        self._tally.left_reason = LostShard.__name__
        self._taken += self._backlog.drop(queue)
        self._wake()

    async def _visit(self, lane: Lane, cell: AgentCell, queue: TaskQueue, place: Place | None) -> None:
        """Run tasks of a queue on one agent, as many as are its turn."""
        if not cell.try_acquire():
            self._lanes.enter()
            try:
                await cell.acquire(self._rank())
            finally:
                self._lanes.leave()
        cell.shard.in_use += 1
        try:
            await self._work(lane, cell, queue.rows, place)
        finally:
            cell.shard.in_use -= 1
            cell.release()
            self._backlog.give_back(queue)

    async def _work(self, lane: Lane, cell: AgentCell, rows: deque[TaskRow], place: Place | None) -> None:
        clock = self._clock
        limit = 60.0 if self._step is None else self._step.task_seconds
        give_way = clock.monotonic() + SLICE_SECONDS
        for turn in range(_RUN_LENGTH):
            # At least one task each time: lanes that only handed the agent on would do so for ever.
            if not rows or cell.shard.closing or (turn and cell.waiting and cell.wanted(self._rank())):
                return
            row = rows.popleft()
            self._taken += 1
            self._backlog.untaken -= 1
            if self._backlog.untaken <= self._low:
                self._changed.set()
            self._lanes.enter()
            try:
                task = task_of(row, self.request, self._step, self._parameters)
                handled = await self.performer.perform(lane, cell, task, limit)
                saved = self._outbox.put(row, cell, handled)
                if saved is not None:
                    await until_saved(saved, self._clock)
            except asyncio.CancelledError:
                self._crew.population.sleep(cell)
                raise
            finally:
                self._lanes.leave()
            if clock.monotonic() >= give_way:
                if place is not None and place.due():
                    return
                await asyncio.sleep(0)
                give_way = clock.monotonic() + SLICE_SECONDS

    def _rank(self) -> float:
        return self._lanes.claim.rank(self._clock.monotonic())

    def _committing_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self._outbox.close()
            self.interrupt()

    async def _stop_all(self, committing: asyncio.Task[None]) -> None:
        if self._lanes.tasks:
            # Before they are interrupted: a lane that survives it must not find more work.
            self.halt(LostShard.__name__)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        self._outbox.close()
        await end_lanes(self._lanes.tasks)
