"""Tasks of one batch that are noted as started and that no lane has taken yet.

Priority, age and tenant decide between batches, not in one: lanes take turns (`ray_app.turns`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from colony.contracts import TaskRow
from colony.ids import AgentId
from ray_app.population import AgentCell, Population


class TaskQueue:
    """Tasks that stay together: those bound to one agent, or those for any (`cell` is None)."""

    __slots__ = ("cell", "rows")

    def __init__(self, cell: AgentCell | None) -> None:
        self.cell = cell
        self.rows: deque[TaskRow] = deque()


class Backlog:
    """Queues of a batch. `untaken` counts their tasks; whoever takes one from a queue counts it down."""

    __slots__ = ("_by_agent", "_population", "_ready", "_shared", "untaken")

    def __init__(self, population: Population) -> None:
        self._population = population
        self._shared = TaskQueue(None)
        self._ready: deque[TaskQueue] = deque()
        self._by_agent: dict[AgentId, TaskQueue] = {}
        self.untaken = 0

    def add(self, rows: Sequence[TaskRow]) -> bool:
        """Queue these; False if some are bound to an agent that is not here any more."""
        complete = True
        for row in rows:
            queue = self._queue(row.agent_id)
            if queue is None:
                complete = False
                continue
            queue.rows.append(row)
            self.untaken += 1
        return complete

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._ready or self._shared.rows)

    def take(self) -> TaskQueue | None:
        """The next queue with work in it. A bound one is the taker's alone until it is given back."""
        if self._ready:
            return self._ready.popleft()
        return self._shared if self._shared.rows else None

    def give_back(self, queue: TaskQueue) -> None:
        """A lane is done with a queue for now."""
        if queue.cell is None:
            return
        if queue.rows:
            self._ready.append(queue)
        else:
            self._by_agent.pop(queue.cell.agent_id, None)

    def drop(self, queue: TaskQueue) -> int:
        """Forget the tasks of a taken queue; returns how many."""
        lost = len(queue.rows)
        self.untaken -= lost
        queue.rows.clear()
        self.give_back(queue)
        return lost

    def clear(self) -> None:
        """Forget all tasks."""
        self._shared.rows.clear()
        for queue in self._by_agent.values():
            queue.rows.clear()
        self._ready.clear()
        self._by_agent.clear()
        self.untaken = 0

    def _queue(self, agent_id: AgentId | None) -> TaskQueue | None:
        if agent_id is None:
            return self._shared
        queue = self._by_agent.get(agent_id)
        if queue is None:
            cell = self._population.agents.get(agent_id)
            if cell is None:
                return None
            queue = self._by_agent[agent_id] = TaskQueue(cell)
            self._ready.append(queue)
        return queue
