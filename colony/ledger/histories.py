"""What became of one task, and steps taken over from a job that ended: parts of the ledger."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from colony.contracts import Frozen, StepLoad

Keep = Literal["all", "good", "none"]
"""Which outcomes come along: the last one of every task, those that are good, or none."""


class TaskOutcome(Frozen):
    """One committed end of a task."""

    generation: int
    ok: bool
    error: str
    """Error class; empty when ok."""
    message: str
    agent_id: str
    at: float
    """Wall-clock seconds."""


class TaskAttempt(Frozen):
    """A host that had the task in flight and left no outcome in that generation."""

    generation: int
    host: str
    since: float
    """Wall-clock seconds."""
    ended: bool
    """Whether that life of the host is over."""
    crashed: bool
    """Whether it ended with the task in flight."""


class TaskHistory(Frozen):
    """All the ledger knows of a task, oldest first."""

    agent_id: str | None
    """The agent it is bound to; None for any of the step's type."""
    outcomes: tuple[TaskOutcome, ...] = ()
    attempts: tuple[TaskAttempt, ...] = ()


class HistoryLedger(Protocol):
    """See the methods."""

    async def task_history(self, job: int, step: int, seq: int) -> TaskHistory | None:
        """What became of a task; None for one that is not loaded."""
        ...

    async def copy_step(self, job: int, step: int, origin: int, keep: Keep) -> StepLoad | None:
        """Load a step with the tasks, and outcomes by `keep`, of the same step of another job; retry-safe.

        Outcomes come as generation 0, failures as ones that do not pass. None when the other job never loaded it.
        Raises `NotFound` for a job that is not there.
        """
        ...

    async def asked_of(self, job: int) -> dict[str, Any]:
        """What a job was asked when it was opened. Raises `NotFound`."""
        ...
