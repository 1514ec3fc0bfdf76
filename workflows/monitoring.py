"""Decisions about watched sites: how a check is judged, when a state changes, what is told, who is next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from colony.ids import Id
from colony.sites import (
    HOUR,
    NO_ANSWER,
    AlertRow,
    CheckRow,
    NoticeRow,
    SiteMemory,
    SiteRow,
    SiteSpec,
    SiteState,
    bucket_of,
    bucket_seconds,
)

DAY: Final = 86_400.0

MAX_ROUND: Final = 500
"""Most sites checked by one batch."""

MAX_SEQ: Final = 2**30
"""Seqs begin at 0 again beyond this: years of checks, and what they left is forgotten long before."""

SLOW_LANE_SECONDS: Final = 2.0
"""A site that took so long last time is checked beside those that are quick, so that they need not wait for it."""

_STATES: Final = (SiteState.UP, SiteState.DEGRADED, SiteState.DOWN)
_LEVELS: Final = {SiteState.NEW: 0, SiteState.UP: 0, SiteState.DEGRADED: 1, SiteState.DOWN: 2}

_PROBLEMS: Final = {
    "certificate": "the certificate is not valid",
    "too-large": "the page is too large",
    "redirects": "it redirects for ever",
    "timeout": "no answer in time",
    "not-permitted": "it may not be fetched",
    "unreachable": "no answer",
}


class Seen(NamedTuple):
    """A check, judged."""

    level: int
    """0 well, 1 worrying, 2 bad."""
    problem: str
    """Empty when well."""
    seconds: float | None
    """Latency of the answer; None without one."""
    status: int = 0
    digest: str = ""
    certificate_ends: float | None = None


class Turn(NamedTuple):
    """What a check makes of a site."""

    memory: SiteMemory
    check: CheckRow
    opened: AlertRow | None = None
    closed: bool = False
    notices: tuple[NoticeRow, ...] = ()


def judge(spec: SiteSpec, facts: Mapping[str, Any], now: float) -> Seen:
    """Judge the facts an agent found (see `agents.skills.site_checks`)."""
    if not facts.get("answered"):
        kind, detail = str(facts.get("problem", "")), str(facts.get("detail", ""))
        words = _PROBLEMS.get(kind, "no answer")
        return Seen(2, f"{words}: {detail}" if detail else words, None)
    status, seconds = int(facts.get("status", 0)), float(facts.get("seconds", 0.0))
    ends = facts.get("certificate_ends")
    seen = Seen(0, "", seconds, status, str(facts.get("digest", "")), None if ends is None else float(ends))
    if (status != spec.status) if spec.status else status >= 400:
        wanted = f" instead of {spec.status}" if spec.status else ""
        # The page of an error is not another content of the site.
        return seen._replace(level=2, problem=f"status {status}{wanted}", digest="")
    if not facts.get("keyword", True):
        return seen._replace(level=2, problem="the keyword is missing")
    if seen.certificate_ends is not None and seen.certificate_ends - now < spec.certificate_days * DAY:
        return seen._replace(level=1, problem=f"the certificate ends in {(seen.certificate_ends - now) / DAY:.1f} days")
    if seconds > spec.slow_seconds:
        return seen._replace(level=1, problem=f"slow: {seconds:.1f} s")
    return seen


def take(spec: SiteSpec, memory: SiteMemory, seen: Seen, now: float) -> Turn:
    """What `seen` makes of a site.

    The state moves only after `failures` checks in a row that are worse than it (`recoveries` that are better), and
    then to the nearest level that all of them reach: a site that flaps stays what it was.
    """
    level = _LEVELS[memory.state]
    streak, reached = _streak(memory, level, seen.level)
    moves = streak >= spec.failures or -streak >= spec.recoveries
    state = _STATES[reached] if moves else memory.state
    if memory.state is SiteState.NEW and seen.level == 0:
        state = SiteState.UP
    changed = bool(memory.digest) and bool(seen.digest) and memory.digest != seen.digest
    after = memory.model_copy(
        update={
            "state": state,
            "since": memory.since if state is memory.state else now,
            "streak": 0 if moves else streak,
            "reached": 0 if moves else reached,
            "checked_at": now,
            "seconds": memory.seconds if seen.seconds is None else seen.seconds,
            "status": seen.status,
            "digest": seen.digest or memory.digest,
            "changed_at": now if changed else memory.changed_at,
            "certificate_ends": memory.certificate_ends if seen.certificate_ends is None else seen.certificate_ends,
            "problem": seen.problem,
        }
    )
    up = int(seen.level < 2)
    bucket = NO_ANSWER if seen.seconds is None else bucket_of(seen.seconds)
    turn = Turn(after, CheckRow(spec.site, int(now // HOUR), bucket, 1, up, seen.seconds or 0.0))
    if changed and spec.tell_changes:
        turn = turn._replace(notices=(_notice(spec, "site-changed", memory.state, "the content changed", now),))
    return turn if state is memory.state else _moved(spec, memory.state, turn, now)


def _streak(memory: SiteMemory, level: int, seen: int) -> tuple[int, int]:
    """The streak with this check in it, and the level nearest to the state that all of it reached."""
    if seen > level:
        return (memory.streak + 1, min(memory.reached, seen)) if memory.streak > 0 else (1, seen)
    if seen < level:
        return (memory.streak - 1, max(memory.reached, seen)) if memory.streak < 0 else (-1, seen)
    return 0, level


def _moved(spec: SiteSpec, before: SiteState, turn: Turn, now: float) -> Turn:
    state = turn.memory.state
    if state is SiteState.UP:
        if before is SiteState.NEW:
            return turn
        notice = _notice(spec, "site-up", before, "it is well again", now)
        return turn._replace(closed=True, notices=(*turn.notices, notice))
    reason = turn.memory.problem or "it was better before"
    alert = AlertRow(0, spec.site, state, state, reason, now)
    return turn._replace(opened=alert, notices=(*turn.notices, _notice(spec, f"site-{state}", before, reason, now)))


def _notice(spec: SiteSpec, kind: str, before: SiteState, reason: str, now: float) -> NoticeRow:
    return NoticeRow(0, spec.site, kind, now, spec.url, before.value, reason[:500])


def next_due(due_at: float, interval: float, now: float) -> float:
    """When a site that was due at `due_at` is due again: on its own beat, skipping beats that were missed."""
    missed = max(0, int((now - due_at) // interval))
    return due_at + (missed + 1) * interval


def first_due(sites: int, index: int, interval: float, now: float) -> float:
    """When a site is first checked: all within one interval, and within ten seconds, evenly spread."""
    return now + min(interval, 10.0) * index / max(1, sites)


def gap_of(shortest: float) -> float:
    """Least seconds between two rounds: sites due in between wait for each other, so that rounds are few."""
    return min(6.0, max(0.25, shortest / 10))


def lane_of(row: SiteRow) -> int:
    """0 for a site that is likely quick, 1 for one that took long or did not answer last time."""
    memory = row.memory
    slow = memory.seconds is not None and memory.seconds > SLOW_LANE_SECONDS
    return 1 if slow or (memory.problem and memory.status == 0) else 0


def pick(rows: Sequence[SiteRow], free: Sequence[int]) -> dict[int, list[SiteRow]]:
    """Sites for the free lanes, at most `MAX_ROUND` each, in their order."""
    chosen: dict[int, list[SiteRow]] = {}
    for row in rows:
        lane = lane_of(row)
        if lane in free and len(chosen.setdefault(lane, [])) < MAX_ROUND:
            chosen[lane].append(row)
    return {lane: found for lane, found in chosen.items() if found}


def wake_in(next_due_at: float | None, now: float, gap: float) -> float | None:
    """Seconds until the next round should begin; None when there is nothing to wait for."""
    return None if next_due_at is None else max(gap, next_due_at - now)


def pause_after(failures: int) -> float:
    """Seconds before something that failed so often in a row is tried again: 5 to 60."""
    return min(60.0, 5.0 * 2.0 ** min(failures - 1, 10))


class Uptime(NamedTuple):
    """The history of a site in numbers."""

    checks: int
    uptime: float | None
    """Share of checks that found it answering rightly, 0 to 1; None without checks."""
    mean: float | None
    """Seconds."""
    p95: float | None
    """Seconds, to within a fifth; None without answers."""


def uptime_of(rows: Sequence[CheckRow]) -> Uptime:
    """The numbers of some hours of one site."""
    checks = sum(row.checks for row in rows)
    answered = sum(row.checks for row in rows if row.bucket != NO_ANSWER)
    seconds = sum(row.seconds for row in rows)
    return Uptime(
        checks,
        sum(row.up for row in rows) / checks if checks else None,
        seconds / answered if answered else None,
        percentile(rows, 0.95),
    )


def percentile(rows: Sequence[CheckRow], share: float) -> float | None:
    """The latency that `share` of the answers do not exceed, in seconds; None without answers."""
    answers = sorted((row.bucket, row.checks) for row in rows if row.bucket != NO_ANSWER and row.checks > 0)
    wanted = share * sum(checks for _, checks in answers)
    seen = 0
    for bucket, checks in answers:
        seen += checks
        if seen >= wanted:
            return bucket_seconds(bucket)
    return None


def by_site(rows: Sequence[CheckRow]) -> dict[Id, list[CheckRow]]:
    """The history, site by site."""
    found: dict[Id, list[CheckRow]] = {}
    for row in rows:
        found.setdefault(row.site, []).append(row)
    return found
