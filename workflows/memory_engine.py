"""The workflow engine in memory: the twin of `workflows.engine.TemporalEngine`. Its jobs do nothing but stand there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from colony.contracts import JobState
from colony.errors import AlreadyExists, BadInput, Cancelled, ColonyError, NotFound, Unavailable
from colony.jobs import NORMAL_PRIORITY
from workflows.contracts import PendingApproval, Progress
from workflows.engine import SeenWorkflow


@dataclass
class MemoryJob:
    """A job that was started."""

    template: str
    given: dict[str, Any]
    key: str
    mark: str
    opened_at: float = field(default_factory=time.time)
    ended: bool = False
    failure: ColonyError | None = None
    updates: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list[tuple[str, tuple[Any, ...]]])
    """What it was asked to change, in order."""
    approvals: tuple[PendingApproval, ...] = ()
    """What it is to say it waits for."""


class MemoryEngine:
    """See `JobEngine`. Set `available` to False to play an outage."""

    def __init__(self) -> None:
        self.available = True
        self.jobs: dict[str, MemoryJob] = {}
        """By workflow id."""

    async def start(self, template: str, given: Mapping[str, Any], workflow_id: str, mark: str) -> str:
        """See `JobEngine`."""
        self._reach()
        if not 1 <= len(workflow_id) <= 200 or not workflow_id.isprintable():
            raise BadInput("A workflow id has 1 to 200 printable characters.")
        job = self.jobs.get(workflow_id)
        if job is None:
            job = self.jobs[workflow_id] = MemoryJob(template, dict(given), str(uuid.uuid4()), mark)
        if job.mark != mark:
            raise AlreadyExists(f"There is a job with the id {workflow_id[:200]!r} already.")
        return job.key

    async def cancel(self, workflow_id: str) -> None:
        """See `JobEngine`."""
        job = self._running(workflow_id)
        job.ended, job.failure = True, Cancelled(f"Job {workflow_id[:200]!r} was cancelled.")

    async def update(self, workflow_id: str, name: str, *arguments: Any) -> Any:
        """See `JobEngine`."""
        self._running(workflow_id).updates.append((name, arguments))
        return None

    async def failure(self, workflow_id: str) -> ColonyError | None:
        """See `JobEngine`."""
        self._reach()
        job = self.jobs.get(workflow_id)
        if job is None:
            raise NotFound("The engine knows no such job.")
        return job.failure

    async def describe(self, workflow_id: str) -> SeenWorkflow:
        """See `JobEngine`."""
        self._reach()
        job = self.jobs.get(workflow_id)
        if job is None:
            raise NotFound("The engine knows no such job.")
        state = JobState.RUNNING
        if job.ended:
            state = JobState.CANCELLED if isinstance(job.failure, Cancelled) else JobState.FAILED
            state = JobState.DONE if job.failure is None else state
        return SeenWorkflow(template=job.template, key=job.key, state=state, opened_at=job.opened_at)

    async def progress(self, workflow_id: str) -> Progress:
        """See `JobEngine`."""
        self._reach()
        job = self.jobs.get(workflow_id)
        if job is None:
            raise NotFound("The engine knows no such job.")
        words = [name for name, _ in job.updates if name in ("pause", "resume")]
        paused = words[-1:] == ["pause"]
        priorities = [arguments[0] for name, arguments in job.updates if name == "set_priority"]
        return Progress(
            template=job.template,
            key=job.key,
            phase="approving" if job.approvals else "running",
            paused=paused,
            priority=priorities[-1] if priorities else NORMAL_PRIORITY,
            approvals=job.approvals,
        )

    async def ping(self) -> float:
        """See `JobEngine`."""
        self._reach()
        return 0.0

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("The workflow engine does not answer.")

    def _running(self, workflow_id: str) -> MemoryJob:
        self._reach()
        job = self.jobs.get(workflow_id)
        if job is None or job.ended:
            raise NotFound(f"There is no running job {workflow_id[:200]!r}.")
        return job
