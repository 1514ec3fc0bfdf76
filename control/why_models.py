"""What stands in the way of a job at the gateway: budget, quota, breaker, slot. Decided from facts. Pure."""

from __future__ import annotations

from colony.errors import BudgetSpent
from control.llm_state import BackendState, BudgetUse, QuotaState
from control.why_contracts import JobFacts, Reason

_MORE = "more tokens: `llm_tokens` in the input of a job, or gateway.limits.job_tokens"


def why_models(facts: JobFacts) -> list[Reason]:
    """Its budget for sure; the rest only if it asks models, since nobody counts its calls while they run."""
    found = _budgets(facts)
    for name, backend in sorted(facts.llm.backends.items()):
        found += _breakers(name, backend, facts.now)
        quota = facts.llm.quotas.get(name, QuotaState())
        paced = max(backend.paced_seconds, quota.held_seconds)
        if paced > 0:
            found.append(_quota(name, backend, quota, facts.now, paced))
        elif backend.waiting:
            what = f"if it asks models: {backend.waiting} calls wait for a slot of {name}"
            frees = f"one of {backend.in_flight} running calls to end"
            found.append(Reason(code="slot", what=what, since=_oldest(backend, facts.now), frees=frees))
    return found


def _budgets(facts: JobFacts) -> list[Reason]:
    """Those of the job and of the jobs that started it: a call must fit them all."""
    recent, key = facts.llm.budgets.recent, facts.view.key
    refused = sum(step.errors.get(BudgetSpent.__name__, 0) for step in facts.view.steps)
    found: list[Reason] = []
    seen: set[str] = set()
    while key not in seen and (use := recent.get(key)) is not None:
        seen.add(key)
        whose = "its budget" if key == facts.view.key else f"the budget of the job above it ({key})"
        reason = _budget(use, whose, refused)
        if reason is not None:
            found.append(reason)
        key = use.parent
    return found


def _budget(use: BudgetUse, whose: str, refused: int) -> Reason | None:
    if use.budget is None:
        return None
    stands = f"{use.used:,} of {use.budget:,} used"
    if use.used >= use.budget:
        return Reason(code="budget", what=f"tokens for models: {whose} is used up ({stands})", frees=_MORE)
    if use.used + use.reserved >= use.budget:
        what = f"tokens for models: what is left of {whose} is reserved by calls under way ({stands})"
        return Reason(code="budget", what=what, frees=f"those calls to end, or {_MORE}")
    if refused:
        what = f"tokens for models: {refused} tasks needed more than is left of {whose} ({stands})"
        return Reason(code="budget", what=what, frees=_MORE)
    return None


def _breakers(name: str, backend: BackendState, now: float) -> list[Reason]:
    found: list[Reason] = []
    for where, breaker in backend.breakers.items():
        if breaker.state == "closed":
            continue
        until = now + breaker.opens_in if breaker.opens_in else None
        found.append(
            Reason(
                code="breaker",
                what=f"if it asks models: the breaker of {name} ({where}) is {breaker.state.replace('_', ' ')}",
                since=now - breaker.open_for if breaker.open_for else None,
                until=until,
                frees=f"a good probe{'' if until is None else f' in {breaker.opens_in:.0f} s'}",
            )
        )
    return found


def _quota(name: str, backend: BackendState, quota: QuotaState, now: float, paced: float) -> Reason:
    counts = (
        (quota.requests, quota.requests_per_minute, "requests"),
        (quota.tokens + quota.tokens_reserved, quota.tokens_per_minute, "tokens"),
    )
    used = ", ".join(f"{count:,} of {most:,} {what}" for count, most, what in counts if most is not None)
    said = f" ({used} in the last minute)" if used else ""
    held = "; it said it is asked too often" if quota.held_seconds > 0 else ""
    waiting = f"; {backend.waiting} calls wait" if backend.waiting else ""
    return Reason(
        code="quota",
        what=f"if it asks models: the quota of {name}{said}{held}{waiting}",
        since=_oldest(backend, now),
        until=now + paced,
        frees="time, or a larger quota of that backend in the configuration",
    )


def _oldest(backend: BackendState, now: float) -> float | None:
    """Since when the call waits that waits longest."""
    return now - backend.oldest_seconds if backend.waiting and backend.oldest_seconds else None
