"""Every time-out, retry policy, queue name and size decision of the workflows, in one place. Pure."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

from temporalio.common import Priority, RetryPolicy

from colony.contracts import BATCH_SECONDS, MAX_BATCH
from colony.jobs import NORMAL_PRIORITY, StepPlan

WORKFLOW_QUEUE: Final = "colony"
IO_QUEUE: Final = "colony-io"
DISPATCH_QUEUE: Final = "colony-dispatch"

SILENCE_SECONDS: Final = 6.0
"""A host that reports no progress for so long has its batch taken away."""

HEARTBEAT_THROTTLE: Final = timedelta(seconds=2)
"""Longest time the SDK may hold a heartbeat back; well below `SILENCE_SECONDS`."""

STICKY_SECONDS: Final = 2.0
"""A workflow whose worker died goes on elsewhere after this."""

STALL_SECONDS: Final = 600.0
"""A step that gets nothing done for so long (no host, overload, no dispatcher) fails its job.

Batches that only wait for a busy dispatcher are no failure: they are handed out again while one lives.
"""

DISPATCHER_SECONDS: Final = 60.0
"""Time to find out whether a dispatcher lives; longer than one takes to be started again."""

IO_SECONDS: Final = 3600.0
"""Most one activity on the ledger or a source may take."""

MAX_INPUT: Final = 64 * 1024
"""Most bytes of a job's input, and of its plan."""

MAX_EVENTS: Final = 2_000
"""History events after which a workflow continues as new."""

MAX_SWEEPS: Final = 3
"""Times a step is visited again because tasks have no outcome, before the job fails."""

FIRST_BATCH: Final = 200
"""Tasks of a first batch, while nobody knows how long one takes: a batch costs the server what 50 tasks cost a host."""

_GROWTH: Final = 4
_TARGET_SECONDS: Final = 0.8 * BATCH_SECONDS

IO_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=0.2),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=0,
)
"""Time bounds these retries (`schedule_to_close`), not a number: a database may restart slowly."""

DISPATCH_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=0.2),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=3),
    maximum_attempts=0,
)
"""For silent and dead hosts. Retries of the server add nothing to the history and are no attempts of a task."""


def io_options(seconds: float = IO_SECONDS, priority: Priority = Priority.default) -> dict[str, Any]:
    """Options of an activity on `IO_QUEUE` that may take `seconds`. Without a priority it has that of its workflow."""
    return {
        "priority": priority,
        "task_queue": IO_QUEUE,
        "schedule_to_start_timeout": timedelta(seconds=STALL_SECONDS),
        "start_to_close_timeout": timedelta(seconds=seconds),
        "schedule_to_close_timeout": timedelta(seconds=seconds + STALL_SECONDS),
        "heartbeat_timeout": timedelta(seconds=SILENCE_SECONDS),
        "retry_policy": IO_RETRY,
    }


def priority_of(priority: int, tenant: str) -> Priority:
    """Priority 1 to 5 in a task queue, and a fair share for each tenant of a priority."""
    return Priority(priority_key=priority, fairness_key=tenant or None)


def dispatch_options(step: StepPlan, priority: int = NORMAL_PRIORITY, tenant: str = "") -> dict[str, Any]:
    """Options of `dispatch_batch` for a step."""
    longest = batch_deadline(step)
    return {
        "task_queue": DISPATCH_QUEUE,
        "schedule_to_start_timeout": timedelta(seconds=STALL_SECONDS),
        "start_to_close_timeout": timedelta(seconds=longest),
        "schedule_to_close_timeout": timedelta(seconds=longest + STALL_SECONDS),
        "heartbeat_timeout": timedelta(seconds=SILENCE_SECONDS),
        "retry_policy": DISPATCH_RETRY,
        "priority": priority_of(priority, tenant),
    }


def batch_deadline(step: StepPlan) -> float:
    """Seconds one batch may take at the very most: a first batch of slow tasks on a host with few slots."""
    return min(4 * 3600.0, 300.0 + 30.0 * step.task_seconds)


def batch_size(
    left: int, total: int, parallel: int, seconds_per_task: float, last: int, first: int = FIRST_BATCH
) -> int:
    """How many tasks the next batch takes, 1 to `MAX_BATCH`.

    `first` while nobody knows; then at most about `BATCH_SECONDS` of work, at most four times the last batch, and so
    few that the `left` tasks of `total` give each of the `parallel` batches a share; but the tail of a step is not cut
    into splinters.
    """
    share = min(left, max(math.ceil(left / parallel), min(first, math.ceil(total / parallel))))
    if seconds_per_task <= 0 or last <= 0:
        return max(1, min(first, share, MAX_BATCH))
    by_time = min(_TARGET_SECONDS / seconds_per_task, MAX_BATCH)
    return max(1, min(int(by_time), last * _GROWTH, share))


def pace(before: float, tasks: int, seconds: float) -> float:
    """Seconds per task after a batch of `tasks` took `seconds`: half old, half new, so one slow batch is no rule."""
    if tasks <= 0 or seconds <= 0 or not math.isfinite(seconds):
        return before
    now = seconds / tasks
    return now if before <= 0 else 0.5 * before + 0.5 * now


def budget_exceeded(failed: int, tasks: int, budget: float) -> bool:
    """Whether so many of `tasks` failed that the job must not go on."""
    return failed > 0 and failed > budget * tasks


def generation_delay(generation: int) -> float:
    """Seconds to wait before generation `generation` (1 is the first retry) tries failed tasks again."""
    return min(30.0, 0.5 * 2.0 ** max(0, generation - 1))


LONGEST_ASKED: Final = 60.0
"""Most seconds of waiting that a refusal may ask for."""

_SPREAD: Final = 0.25
_LEAVE: Final = {"Overloaded": (0.5, 5.0), "LostShard": (0.1, 2.0), "Fenced": (0.1, 2.0)}
_LEAVE_OTHER: Final = (0.25, 3.0)


def leave_delay(reason: str, attempt: int, jitter: float = 0.5, retry_after: float = 0.0) -> float:
    """Seconds until tasks that came back without an outcome are handed out again.

    Doubles with `attempt` (from 1) up to a bound by `reason`; `jitter` 0 to 1 spreads it from half to the whole.
    At least `retry_after`, what the side that refused asked for, up to `LONGEST_ASKED`.
    """
    first, most = _LEAVE.get(reason, _LEAVE_OTHER)
    whole = min(most, first * 2.0 ** min(30, max(0, attempt - 1)))
    asked = min(retry_after, LONGEST_ASKED) * (1.0 + _SPREAD * jitter)
    return max(whole * (0.5 + 0.5 * jitter), asked)


def should_continue_as_new(events: int, suggested: bool) -> bool:
    """Whether the history is long enough to start a fresh one."""
    return suggested or events > MAX_EVENTS
