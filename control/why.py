"""What a job or a task waits for, since when, and what would free it: decided from facts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from colony.contracts import Frozen, JobState, JobView, Lease
from colony.ledger.histories import TaskHistory
from control.llm_view import BackendState
from workflows.contracts import Progress
from workflows.standing import PendingWork, QueueDepth


class Reason(Frozen):
    """One thing that is waited for."""

    code: str
    """A word for machines: `paused`, `approval`, `timer`, `called_job`, `retry_delay`, `queue`, `working` …"""
    what: str
    since: float | None = None
    """Wall-clock seconds; None where nobody noted it."""
    until: float | None = None
    """When it ends by itself; None when it does not, or nobody knows."""
    frees: str = ""
    """What would free it."""


class JobFacts(Frozen):
    """What was found out about a job; what could not be asked is None or empty."""

    view: JobView
    progress: Progress | None = None
    trouble: tuple[str, ...] = ()
    """Who did not answer."""
    pending: tuple[PendingWork, ...] = ()
    queues: tuple[QueueDepth, ...] = ()
    leases: tuple[Lease, ...] = ()
    unowned: int = 0
    """Shards nobody owns."""
    dispatcher: bool = True
    """Whether one lives."""
    backends: dict[str, BackendState] = {}  # noqa: RUF012 -- pydantic copies it


def why_job(facts: JobFacts) -> tuple[Reason, ...]:
    """What the job waits for, what holds all of it first."""
    view, progress = facts.view, facts.progress
    if view.state is not JobState.RUNNING:
        told = f": {view.reason}" if view.reason else ""
        frees = f"colony retry {view.job}" if any(step.failed for step in view.steps) else ""
        return (Reason(code="ended", what=f"nothing: it is {view.state}{told}", since=view.closed_at, frees=frees),)
    found: list[Reason] = []
    if view.cancel_requested:
        found.append(Reason(code="cancelling", what="its agents to stop: it is cancelled"))
    if progress is None:
        found.append(_unanswered(facts))
    else:
        found += _told(view, progress)
        if progress.phase == "running":
            found += _fleet(facts)
    found += [reason for each in facts.pending if (reason := _activity(each, facts)) is not None]
    if progress is not None and progress.phase == "running":
        found += _models(facts)
        found += _working(progress)
    return tuple(found) or (Reason(code="deciding", what="the worker to decide its next step"),)


def _unanswered(facts: JobFacts) -> Reason:
    if facts.trouble:
        return Reason(code="away", what=f"an answer: {'; '.join(facts.trouble)}", frees="see `colony status`")
    return Reason(code="worker", what="a worker that takes it up", frees="see `colony status` and `colony logs worker`")


def _told(view: JobView, progress: Progress) -> list[Reason]:
    found: list[Reason] = []
    if progress.paused:
        found.append(Reason(code="paused", what="the end of a pause", frees=f"colony resume {view.job}"))
    for each in progress.approvals:
        what = f"a person to approve step {each.step}: {each.prompt}; when nobody does, {each.default}"
        frees = f"colony approve {view.job} [--reject]"
        found.append(Reason(code="approval", what=what, since=each.since, until=each.until, frees=frees))
    if progress.phase == "waiting":
        found.append(Reason(code="timer", what=f"time, step {progress.step}: {progress.waiting_for}"))
    if progress.phase == "calling":
        what = f"a job it called, step {progress.step}: {progress.waiting_for}"
        found.append(Reason(code="called_job", what=what, frees="ask `colony why` about that job"))
    return found


def _fleet(facts: JobFacts) -> list[Reason]:
    alive = [lease for lease in facts.leases if lease.expires_in > 0]
    found: list[Reason] = []
    if not facts.dispatcher:
        found.append(Reason(code="dispatcher", what="a dispatcher: none lives", frees="colony up"))
    if not any(not lease.draining for lease in alive):
        what = "a host: all are draining" if alive else "a host: none is alive"
        found.append(Reason(code="host_down", what=what, frees="the dispatcher starts hosts; see `colony status`"))
    for lease in facts.leases:
        if lease.expires_in <= 0:
            what = f"host {lease.host} to be replaced: its lease ran out {-lease.expires_in:.0f} s ago"
            found.append(Reason(code="host_down", what=what))
    if facts.unowned and alive:
        what = f"an owner of {facts.unowned} shards: agents in them run nowhere"
        found.append(Reason(code="lost_shard", what=what, frees="hosts claim them within seconds"))
    waits = "" if facts.progress is None or facts.progress.paused else facts.progress.waiting_for
    if waits == "Overloaded":
        what = "room on a host: all refuse more work now"
        found.append(Reason(code="overloaded", what=what, frees="other work to end, or more hosts"))
    elif waits:
        found.append(Reason(code="handed_back", what=f"tasks to be handed out again: they came back ({waits})"))
    return found


def _activity(each: PendingWork, facts: JobFacts) -> Reason | None:
    if each.running:
        if each.name == "dispatch_batch":
            return None  # said in one line for all batches
        return Reason(code="working", what=f"{each.name}, attempt {each.attempt}, to end", since=each.since)
    if each.next_at is not None:
        what = f"the next try of {each.name} after attempt {each.attempt - 1} failed: {each.failure}"
        return Reason(code="retry_delay", what=what, since=each.since, until=each.next_at)
    queue = next((one for one in facts.queues if _queue_of(each.name) in one.queue), None)
    if queue is None:
        return Reason(code="queue", what=f"its turn to {each.name}", since=each.since)
    if not queue.pollers:
        what, frees = f"a process that takes from {queue.queue}: none does", "see `colony status`"
        return Reason(code="queue", what=what, since=each.since, frees=frees)
    ahead = ", ".join(f"priority {key}: {count}" for key, count in queue.by_priority.items() if count)
    what = f"its turn to {each.name}: {queue.backlog} wait in {queue.queue}{f' ({ahead})' if ahead else ''}"
    frees = f"colony priority {facts.view.job} 1, or others to end"
    return Reason(code="queue", what=what, since=each.since, frees=frees)


def _queue_of(activity: str) -> str:
    return "dispatch" if activity == "dispatch_batch" else "io"


def _models(facts: JobFacts) -> list[Reason]:
    """What stands in the way at the gateway, if the job asks models: nobody counts its calls while they run."""
    found: list[Reason] = []
    for name, backend in sorted(facts.backends.items()):
        for where, breaker in backend.breakers.items():
            if breaker.state != "closed":
                what = f"if it asks models: the breaker of {name} ({where}) is {breaker.state}"
                frees = f"a good probe in {breaker.opens_in:.0f} s"
                found.append(Reason(code="breaker", what=what, frees=frees))
        if backend.waiting:
            what = f"if it asks models: {backend.waiting} calls wait for a slot of {name}"
            what += f", the oldest for {backend.oldest_seconds:.0f} s" if backend.oldest_seconds else ""
            found.append(Reason(code="slot", what=what, frees=f"one of {backend.in_flight} running calls to end"))
    return found


def _working(progress: Progress) -> list[Reason]:
    if not progress.batches:
        if progress.done >= progress.tasks and progress.failed and not progress.paused:
            what = f"the delay before failed tasks of step {progress.step} are tried again"
            return [Reason(code="retry_delay", what=what)]
        return []
    what = f"agents to finish step {progress.step}: {progress.done} of {progress.tasks} tasks are done"
    what += f", {progress.batches} batches under way, generation {progress.generation}"
    return [Reason(code="working", what=what)]


def why_task(job: JobFacts, step: str, seq: int, history: TaskHistory | None) -> tuple[Reason, ...]:
    """What a task waits for; when it waits for its turn, what its job waits for comes after."""
    if history is None:
        what = f"step {step} to be reached: it has no task {seq}"
        if job.view.state is not JobState.RUNNING:
            return (Reason(code="missing", what=f"nothing: step {step} has no task {seq}"),)
        return (Reason(code="pending", what=what), *why_job(job))
    last = history.outcomes[-1] if history.outcomes else None
    if last is not None and last.ok:
        return (Reason(code="done", what=f"nothing: {last.agent_id} did it", since=last.at),)
    lives = [each for each in history.attempts if not each.ended]
    if lives and job.view.state is JobState.RUNNING:
        each = lives[-1]
        what = f"an agent to finish it: it is in flight on {each.host}, generation {each.generation}"
        return (Reason(code="in_flight", what=what, since=each.since),)
    found = _failed(job, history)
    if job.view.state is JobState.RUNNING:
        died = sum(each.crashed for each in history.attempts)
        suspect = f"; {died} hosts died while they had it" if died else ""
        found.append(Reason(code="pending", what=f"its turn{suspect}"))
        found += why_job(job)
    elif last is None:
        what = f"nothing: it has no outcome, and its job is {job.view.state}"
        found.append(Reason(code="missing", what=what, frees=f"colony retry {job.view.job}"))
    return tuple(found)


def _failed(job: JobFacts, history: TaskHistory) -> list[Reason]:
    if not history.outcomes:
        return []
    last = history.outcomes[-1]
    what = f"nothing more: it failed in generation {last.generation} ({last.error}: {last.message[:200]})"
    ended = job.view.state is not JobState.RUNNING
    return [Reason(code="failed", what=what, since=last.at, frees=f"colony retry {job.view.job}" if ended else "")]


def spoken(reasons: Sequence[Reason], now: float) -> list[str]:
    """Lines for people."""
    lines: list[str] = []
    for reason in reasons:
        lines.append(f"- {reason.what}")
        if reason.since is not None:
            lines.append(f"    since {_moment(reason.since)} ({_span(now - reason.since)} ago)")
        if reason.until is not None:
            lines.append(f"    until {_moment(reason.until)} (in {_span(reason.until - now)})")
        if reason.frees:
            lines.append(f"    freed by: {reason.frees}")
    return lines


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
