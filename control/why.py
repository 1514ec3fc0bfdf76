"""What a job or a task waits for, since when, and what would free it: decided from facts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from colony.contracts import JobState, JobView
from colony.ledger.histories import TaskHistory
from colony.ledger.sites import MonitorPulse
from control.why_contracts import JobFacts, Reason
from control.why_models import why_models
from workflows.contracts import Progress
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.standing import PendingWork


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
    runs = progress is not None and progress.phase == "running"
    if progress is None:
        found.append(_unanswered(facts))
    else:
        found += _told(view, progress, facts.now)
    if runs:
        found += _fleet(facts)
    found += [reason for each in facts.pending if (reason := _activity(each, facts)) is not None]
    if progress is not None and runs and facts.monitor is not None:
        found += _monitor(facts, progress, facts.monitor)
    elif progress is not None and runs:
        found += [*_handed_back(facts, progress), *why_models(facts), *_working(progress)]
    since = None if progress is None else progress.since
    return tuple(found) or (Reason(code="deciding", what="the worker to decide its next step", since=since),)


def _unanswered(facts: JobFacts) -> Reason:
    if facts.trouble:
        return Reason(code="away", what=f"an answer: {'; '.join(facts.trouble)}", frees="see `colony status`")
    return Reason(code="worker", what="a worker that takes it up", frees="see `colony status` and `colony logs worker`")


def _told(view: JobView, progress: Progress, now: float) -> list[Reason]:
    found: list[Reason] = []
    if progress.paused and view.template != MONITOR:  # of that its sites tell
        frees = f"colony resume {view.job}"
        found.append(Reason(code="paused", what="the end of a pause", since=progress.paused_since, frees=frees))
    for each in progress.approvals:
        what = f"a person to approve step {each.step}: {each.prompt}; when nobody does, {each.default}"
        frees = f"colony approve {view.job} [--reject]"
        found.append(Reason(code="approval", what=what, since=each.since, until=each.until, frees=frees))
    passed = progress.paused and progress.until is not None and progress.until <= now
    if progress.phase == "waiting" and not passed:
        what = f"time, step {progress.step}"
        if not progress.paused:  # then it says what the pause waits for
            what += f": {progress.waiting_for}"
        found.append(Reason(code="timer", what=what, since=progress.since, until=progress.until))
    if progress.phase == "calling":
        what = f"a job it called, step {progress.step}"
        if not progress.paused:
            what += f": {progress.waiting_for}"
        frees = "ask `colony why` about that job"
        found.append(Reason(code="called_job", what=what, since=progress.since, frees=frees))
    return found


def _fleet(facts: JobFacts) -> list[Reason]:
    alive = [lease for lease in facts.leases if lease.expires_in > 0]
    found: list[Reason] = []
    if not facts.dispatcher:
        found.append(Reason(code="dispatcher", what="a dispatcher: none lives", frees="colony up"))
    if not any(not lease.draining for lease in alive):
        what = "a host: all are draining" if alive else "a host: none is alive"
        ended = [facts.now + lease.expires_in for lease in facts.leases] if not alive else []
        frees = "the dispatcher starts hosts; see `colony status`"
        found.append(Reason(code="host_down", what=what, since=max(ended, default=None), frees=frees))
    for lease in facts.leases:
        if lease.expires_in <= 0:
            what = f"host {lease.host} to be replaced: its lease ran out {-lease.expires_in:.0f} s ago"
            frees = "the dispatcher replaces it"
            found.append(Reason(code="host_down", what=what, since=facts.now + lease.expires_in, frees=frees))
    if facts.unowned and alive:
        what = f"an owner of {facts.unowned} shards: agents in them run nowhere"
        found.append(Reason(code="lost_shard", what=what, frees="hosts claim them within seconds"))
    return found


def _handed_back(facts: JobFacts, progress: Progress) -> list[Reason]:
    """Why tasks came back; they are handed out again until hosts take them."""
    waits = "" if progress.paused else progress.waiting_for
    if not waits:
        return []
    again = "" if progress.until is None else f"; they are tried again in {max(0.0, progress.until - facts.now):.0f} s"
    if waits == "Overloaded":
        what = f"room on a host: all refuse more work now{again}"
        return [Reason(code="overloaded", what=what, since=progress.since, frees="other work to end, or more hosts")]
    what = f"tasks to be handed out again: they came back ({waits}){again}"
    return [Reason(code="handed_back", what=what, since=progress.since)]


def _monitor(facts: JobFacts, progress: Progress, pulse: MonitorPulse) -> list[Reason]:
    """A job that watches sites rests between its rounds."""
    job, found = facts.view.job, list[Reason]()
    if progress.waiting_for:
        what = f"its checks to work again: {progress.waiting_for}"
        found.append(Reason(code="trouble", what=what, frees="see `colony status`"))
    if progress.batches:
        what = f"checks under way to end, in {progress.batches} batches"
        found.append(Reason(code="working", what=what))
    if not pulse.sites:
        what = "sites to watch: it has none"
        found.append(Reason(code="idle", what=what, frees=f"colony monitor add {job} URL"))
    elif pulse.paused == pulse.sites:
        what = f"the end of a pause: all its sites are paused ({pulse.sites})"
        since = progress.paused_since or facts.looked_at
        found.append(Reason(code="paused", what=what, since=since, frees=f"colony resume {job}"))
    elif pulse.next_due is not None:
        paused = f", of which {pulse.paused} are paused" if pulse.paused else ""
        what = f"its next round: it watches {pulse.sites} sites{paused}"
        found.append(Reason(code="timer", what=what, since=progress.since, until=pulse.next_due))
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


def _working(progress: Progress) -> list[Reason]:
    if not progress.batches:
        if progress.done >= progress.tasks and progress.failed and not progress.paused:
            what = f"the delay before failed tasks of step {progress.step} are tried again"
            return [Reason(code="retry_delay", what=what, since=progress.since, until=progress.until)]
        return []
    what = f"agents to finish step {progress.step}: {progress.done} of {progress.tasks} tasks are done"
    what += f", {progress.batches} batches under way, generation {progress.generation}"
    return [Reason(code="working", what=what, since=None if progress.waiting_for else progress.since)]


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
