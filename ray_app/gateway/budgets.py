"""Token budgets of jobs, shared with everything a job starts. Pure; `remembered_budgets` recovers them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from colony.config.gateway import LimitsConfig
from colony.errors import BadInput

MOST_JOBS: Final = 10_000
"""Jobs kept at most. Beyond it the one used longest ago is forgotten; the ledger still knows what it used."""

DEEPEST: Final = 32
"""Generations of jobs that start jobs, the first included."""


class BudgetVerdict(NamedTuple):
    """Whether a request may go. Its tokens are reserved exactly when it is `allowed`."""

    allowed: bool
    degrade: bool = False
    """Allowed, but the budget is spent: only to the cheapest tier."""
    later: bool = False
    """Not allowed now, but what others of the job have reserved stands in the way, not what is used: ask again when
    one of them has settled."""


class JobUse(NamedTuple):
    """A job as its budget sees it."""

    used: int
    """Tokens used by it and all it started."""
    reserved: int
    budget: int | None
    """Its own end; None where only its parents have one."""
    parent: str


@dataclass(slots=True, eq=False)
class _Job:
    used: int = 0
    reserved: int = 0
    budget: int | None = None
    parent: str = ""
    known: bool = False


class Budgets:
    """What each job may still use.

    A request counts for its job and for every job above it, and must fit all their budgets. It counts with what it
    reserved until it settles, so a budget is never overrun by more than an answer that was longer than reserved.
    """

    def __init__(self, config: LimitsConfig, *, most: int = MOST_JOBS) -> None:
        self._config = config
        self._most = max(most, DEEPEST + 2)
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    def adopt(self, child: str, parent: str) -> None:
        """`child` was started by `parent`: from now on what it uses counts there too, with what it used before.

        The same again changes nothing. Raises `BadInput` for a circle, a second parent or too many generations.
        """
        if not child or not parent or child == parent:
            raise BadInput("A job cannot start itself, and both jobs need a key.")
        above = self._line(parent)
        job = self._job(child)
        if job.parent == parent:
            return
        if job.parent:
            raise BadInput(f"The job {child!r} was started by {job.parent!r}, not by {parent!r}.")
        if job in above:
            raise BadInput(f"The job {child!r} started {parent!r}: they cannot start each other.")
        if len(above) >= DEEPEST:
            raise BadInput(f"Jobs may start jobs {DEEPEST} generations deep.")
        job.parent = parent
        for other in above:
            other.used += job.used
            other.reserved += job.reserved

    def set_budget(self, job: str, tokens: int | None) -> None:
        """Give a job a budget of its own instead of the configured one; None: the configured one again."""
        if not job or (tokens is not None and tokens < 0):
            raise BadInput("A budget needs the key of a job and a number of tokens that is not negative.")
        self._job(job).budget = tokens

    def reserve(self, job: str, tokens: int) -> BudgetVerdict:
        """Reserve what a request may use in all. Requests of no job are always allowed."""
        if not job:
            return BudgetVerdict(allowed=True)
        line = self._line(job)
        spent = any(self._exceeded(entry, entry.used + tokens) for entry in line)
        full = spent or any(self._exceeded(entry, entry.used + entry.reserved + tokens) for entry in line)
        if full and self._config.on_budget == "stop":
            return BudgetVerdict(allowed=False, later=not spent)
        for entry in line:
            entry.reserved += tokens
        return BudgetVerdict(allowed=True, degrade=full)

    def settle(self, job: str, reserved: int, used: int) -> None:
        """A request that was allowed is over and used so many tokens."""
        if not job:
            return
        for entry in self._line(job):
            entry.reserved = max(0, entry.reserved - reserved)
            entry.used += max(0, used)

    def unknown(self, job: str) -> tuple[str, ...]:
        """Those of the job and the ones above it whose past nobody has told yet by `used_so_far`."""
        if not job:
            return ()
        return tuple(key for key in self._keys(job) if not self._job(key).known)

    def used_so_far(self, job: str, tokens: int) -> None:
        """What the job and all it started used by the books, told once, before its first request if possible.

        Told later it counts as the least it can have used: part of it may be what was counted here already.
        """
        entry = self._job(job)
        entry.known = True
        entry.used = max(entry.used, tokens)

    def use(self, job: str) -> JobUse:
        """Where a job stands; zeros for one nobody has asked about."""
        entry = self._jobs.get(job) or _Job()
        return JobUse(entry.used, entry.reserved, self._limit(entry), entry.parent)

    def state(self, most: int = 50) -> dict[str, Any]:
        """The jobs used last, for people."""
        recent = list(reversed(self._jobs))[:most]
        return {"jobs": len(self._jobs), "recent": {key: self.use(key)._asdict() for key in recent}}

    def _limit(self, entry: _Job) -> int | None:
        if entry.budget is not None:
            return entry.budget
        return None if entry.parent else self._config.job_tokens

    def _exceeded(self, entry: _Job, tokens: int) -> bool:
        limit = self._limit(entry)
        return limit is not None and tokens > limit

    def _keys(self, job: str) -> list[str]:
        """The job and those above it, nearest first."""
        keys = [job]
        while (parent := self._job(keys[-1]).parent) and len(keys) < DEEPEST:
            keys.append(parent)
        return keys

    def _line(self, job: str) -> list[_Job]:
        return [self._job(key) for key in self._keys(job)]

    def _job(self, key: str) -> _Job:
        """The entry of a job, as the one used last."""
        entry = self._jobs.get(key)
        if entry is None:
            self._forget()
            entry = self._jobs[key] = _Job()
        self._jobs.move_to_end(key)
        return entry

    def _forget(self) -> None:
        """Make room for one: those with requests under way are kept, however many they are."""
        for _ in range(8):
            if len(self._jobs) < self._most:
                return
            oldest = next(iter(self._jobs))
            if self._jobs[oldest].reserved:
                self._jobs.move_to_end(oldest)
            else:
                del self._jobs[oldest]
