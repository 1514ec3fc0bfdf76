"""What a job or task waits for, decided from facts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from colony.contracts import JobState, JobView, Lease, StepCounts
from colony.ledger.histories import TaskAttempt, TaskHistory, TaskOutcome
from colony.ledger.sites import MonitorPulse
from control.llm_state import (
    BackendState,
    BreakerState,
    BudgetsState,
    BudgetUse,
    LlmView,
    QuotaState,
    parse_view,
)
from control.why import spoken, why_job, why_task
from control.why_contracts import JobFacts
from workflows.contracts import PendingApproval, Progress
from workflows.standing import PendingWork, QueueDepth

HOST = Lease(incarnation="i", host="colony-host-0", expires_in=9.0)
RUNNING = Progress(template="t", key="k", job=7, phase="running", step="map", tasks=10, done=3, batches=2)


def view(state: JobState = JobState.RUNNING, **more: Any) -> JobView:
    return JobView(job=7, key="k", workflow_id="w", template="t", state=state, opened_at=0.0, **more)


def facts(progress: Progress | None = RUNNING, **more: Any) -> JobFacts:
    return JobFacts(**{"view": view(), "progress": progress, "leases": (HOST,), **more})


def codes(found: JobFacts) -> list[str]:
    return [reason.code for reason in why_job(found)]


def test_a_job_at_work_says_how_far_it_is() -> None:
    (reason,) = why_job(facts())
    assert reason.code == "working"
    assert "3 of 10" in reason.what


def test_a_pause_is_named_with_its_end() -> None:
    told = {"paused": True, "paused_since": 4.0, "batches": 0, "waiting_for": "resume"}
    (reason,) = why_job(facts(RUNNING.model_copy(update=told)))
    assert (reason.code, reason.since, reason.frees) == ("paused", 4.0, "colony resume 7")


def test_a_moment_has_an_end_and_a_called_job_a_start() -> None:
    waits = Progress(
        template="t", key="k", phase="waiting", step="nap", waiting_for="60 s to pass", since=5.0, until=65.0
    )
    (reason,) = why_job(facts(waits))
    assert (reason.code, reason.since, reason.until) == ("timer", 5.0, 65.0)
    assert "60 s to pass" in reason.what
    paused, reason = why_job(facts(waits.model_copy(update={"paused": True, "waiting_for": "resume"})))
    assert (paused.code, reason.code, "resume" in reason.what) == ("paused", "timer", False)
    told = waits.model_copy(update={"paused": True, "waiting_for": "resume"})
    assert codes(facts(told, now=70.0)) == ["paused"], "the time is over: only the pause is left"
    (reason,) = why_job(facts(waits.model_copy(update={"phase": "calling", "until": None})))
    assert (reason.code, reason.since, reason.until) == ("called_job", 5.0, None)
    (reason,) = why_job(facts(waits.model_copy(update={"phase": "deciding"})))
    assert (reason.code, reason.since) == ("deciding", 5.0)


def test_an_approval_has_a_start_and_an_end() -> None:
    asked = PendingApproval(step="ok", prompt="Publish?", since=100.0, until=700.0, default="reject")
    (reason,) = why_job(facts(Progress(template="t", key="k", phase="approving", step="ok", approvals=(asked,))))
    assert (reason.code, reason.since, reason.until) == ("approval", 100.0, 700.0)
    text = "\n".join(spoken([reason], 160.0))
    assert "Publish?" in text
    assert "(60 s ago)" in text
    assert "(in 9 min)" in text
    assert "colony approve 7" in text


def test_what_is_down_is_named() -> None:
    late = HOST.model_copy(update={"expires_in": -4.0})
    assert codes(facts(leases=(late,)))[:2] == ["host_down", "host_down"]
    assert codes(facts(leases=()))[0] == "host_down"
    assert codes(facts(leases=(HOST.model_copy(update={"draining": True}),)))[0] == "host_down"
    assert codes(facts(dispatcher=False))[0] == "dispatcher"
    assert codes(facts(unowned=12))[0] == "lost_shard"
    assert codes(facts(RUNNING.model_copy(update={"waiting_for": "Overloaded"})))[0] == "overloaded"


def test_a_host_is_down_since_its_lease_ended() -> None:
    earlier, later = (HOST.model_copy(update={"expires_in": -left}) for left in (60.0, 4.0))
    none, *each = why_job(facts(leases=(earlier, later), now=100.0))[:3]
    assert ("none is alive" in none.what, none.since) == (True, 96.0)
    assert [reason.since for reason in each] == [40.0, 96.0]


def test_tasks_that_came_back_say_since_when_and_when_they_go_again() -> None:
    left = RUNNING.model_copy(update={"waiting_for": "Overloaded", "since": 90.0, "until": 103.0})
    reason, working = why_job(facts(left, now=100.0))
    assert (reason.code, reason.since) == ("overloaded", 90.0)
    assert "again in 3 s" in reason.what
    assert (working.code, working.since) == ("working", None)
    (reason,) = why_job(facts(RUNNING.model_copy(update={"since": 90.0})))
    assert (reason.code, reason.since) == ("working", 90.0)


def test_a_queue_is_told_by_its_depth() -> None:
    waits = PendingWork(name="dispatch_batch", running=False, since=5.0)
    queue = QueueDepth(queue="colony-dispatch", pollers=1, backlog=9, oldest_seconds=3.0, by_priority={1: 4, 3: 5})
    reasons = why_job(facts(pending=(waits,), queues=(queue,)))
    assert (reasons[0].code, reasons[0].since) == ("queue", 5.0)
    assert "priority 1: 4, priority 3: 5" in reasons[0].what
    nobody = queue.model_copy(update={"pollers": 0})
    assert "none does" in why_job(facts(pending=(waits,), queues=(nobody,)))[0].what


def test_a_delay_of_a_retry_has_an_end() -> None:
    waits = PendingWork(name="load_step", running=False, attempt=3, since=5.0, next_at=8.0, failure="no database")
    reason = why_job(facts(Progress(template="t", key="k", phase="loading"), pending=(waits,)))[0]
    assert (reason.code, reason.until) == ("retry_delay", 8.0)
    assert "no database" in reason.what
    between = RUNNING.model_copy(update={"batches": 0, "done": 10, "failed": 2, "since": 5.0, "until": 9.0})
    (reason,) = why_job(facts(between))
    assert (reason.code, reason.since, reason.until) == ("retry_delay", 5.0, 9.0)


def test_models_are_named_only_where_something_stands_in_the_way() -> None:
    closed = BackendState(breakers={"a": BreakerState()}, in_flight=2)
    broken = BreakerState(state="open", opens_in=20, open_for=40)
    opened = BackendState(breakers={"a": broken}, waiting=3, in_flight=4, oldest_seconds=6)
    assert codes(facts(llm=LlmView(backends={"one": closed}))) == ["working"]
    breaker, slot, working = why_job(facts(llm=LlmView(backends={"one": opened}), now=100.0))
    assert (breaker.code, breaker.since, breaker.until) == ("breaker", 60.0, 120.0)
    assert (slot.code, slot.since, working.code) == ("slot", 94.0, "working")
    older = opened.model_copy(update={"breakers": {"a": BreakerState(state="half_open")}, "waiting": 0})
    (breaker, _) = why_job(facts(llm=LlmView(backends={"one": older}), now=100.0))
    assert (breaker.since, breaker.until) == (None, None), "a gateway of an older build does not say"


def test_a_quota_that_is_used_up_has_an_end() -> None:
    paced = BackendState(paced_seconds=12.5, waiting=2, oldest_seconds=3)
    used = QuotaState(requests_per_minute=60, requests=60)
    quota, _ = why_job(facts(llm=LlmView(backends={"one": paced}, quotas={"one": used}), now=100.0))
    assert (quota.code, quota.since, quota.until) == ("quota", 97.0, 112.5)
    assert "60 of 60 requests" in quota.what
    assert "2 calls wait" in quota.what
    held = LlmView(backends={"one": BackendState()}, quotas={"one": QuotaState(held_seconds=30)})
    quota, _ = why_job(facts(llm=held, now=100.0))
    assert (quota.code, quota.until) == ("quota", 130.0)
    assert "too often" in quota.what


def test_a_budget_that_is_used_up_is_named_with_whose_it_is() -> None:
    def budgets(**uses: BudgetUse) -> LlmView:
        return LlmView(budgets=BudgetsState(recent=uses))

    spent = BudgetUse(used=1000, budget=1000)
    (budget, _) = why_job(facts(llm=budgets(k=spent)))
    assert (budget.code, "1,000 of 1,000 used" in budget.what) == ("budget", True)
    assert "llm_tokens" in budget.frees
    assert codes(facts(llm=budgets(other=spent))) == ["working"]
    (budget, _) = why_job(facts(llm=budgets(k=BudgetUse(used=9, parent="above"), above=spent)))
    assert "the job above it (above)" in budget.what
    (budget, _) = why_job(facts(llm=budgets(k=BudgetUse(used=600, reserved=400, budget=1000))))
    assert "reserved" in budget.what
    nearly = budgets(k=BudgetUse(used=990, budget=1000))
    assert codes(facts(llm=nearly)) == ["working"]
    step = StepCounts(number=0, name="map", tasks=9, failed=2, errors={"BudgetSpent": 2})
    (budget, _) = why_job(facts(llm=nearly, view=view(steps=(step,))))
    assert "2 tasks needed more" in budget.what
    circle = budgets(k=BudgetUse(parent="above"), above=BudgetUse(parent="k"))
    assert codes(facts(llm=circle)) == ["working"]


def test_the_state_of_a_gateway_is_read_whole() -> None:
    told = parse_view(
        {
            "backends": {"one": {"by_priority": {"1": 2}, "breakers": {"m": {"state": "open", "open_for": 3.0}}}},
            "quotas": {"one": {"requests_per_minute": 60, "requests": 1, "held_seconds": 0.0}},
            "budgets": {"jobs": 1, "recent": {"k": {"used": 1, "reserved": 2, "budget": 3, "parent": ""}}},
        }
    )
    assert told.backends["one"].by_priority == {1: 2}
    assert told.backends["one"].breakers["m"].open_for == 3.0
    assert told.quotas["one"].requests_per_minute == 60
    assert told.budgets.recent["k"].budget == 3


def test_a_monitor_waits_for_its_next_round() -> None:
    resting = Progress(template="website_monitor", key="k", job=7, phase="running", step="check", tasks=3)
    (reason,) = why_job(facts(resting, monitor=MonitorPulse(3, 1, 160.0, 0, 0), now=100.0))
    assert (reason.code, reason.until) == ("timer", 160.0)
    assert "3 sites, of which 1 are paused" in reason.what
    (reason,) = why_job(facts(resting, monitor=MonitorPulse(3, 3, None, 0, 0), looked_at=40.0))
    assert (reason.code, reason.since, reason.frees) == ("paused", 40.0, "colony resume 7")
    (reason,) = why_job(facts(resting, monitor=MonitorPulse(0, 0, None, 0, 0)))
    assert (reason.code, reason.frees) == ("idle", "colony monitor add 7 URL")
    busy = resting.model_copy(update={"batches": 2, "waiting_for": "no host"})
    reasons = why_job(facts(busy, monitor=MonitorPulse(3, 0, None, 0, 0)))
    assert [reason.code for reason in reasons] == ["trouble", "working"]


def test_who_does_not_answer_is_named() -> None:
    assert codes(facts(None, trouble=("Temporal does not answer",))) == ["away"]
    assert codes(facts(None)) == ["worker"]


def test_a_job_that_ended_waits_for_nothing() -> None:
    step = StepCounts(number=0, name="map", tasks=2, ok=1, failed=1)
    ended = JobFacts(view=view(JobState.FAILED, closed_at=9.0, reason="over budget", steps=(step,)))
    (reason,) = why_job(ended)
    assert (reason.code, reason.since, reason.frees) == ("ended", 9.0, "colony retry 7")


def outcome(**more: Any) -> TaskOutcome:
    return TaskOutcome(
        **{"generation": 0, "ok": True, "error": "", "message": "", "agent_id": "a-1", "at": 3.0, **more}
    )


def test_a_task_in_each_of_its_states() -> None:
    failed = outcome(ok=False, error="TaskTimeout", message="too slow")
    lives = TaskAttempt(generation=0, host="colony-host-1", since=4.0, ended=False, crashed=False)
    died = lives.model_copy(update={"ended": True, "crashed": True})
    over = JobFacts(view=view(JobState.DONE))

    def code(job: JobFacts, history: TaskHistory | None) -> str:
        return why_task(job, "map", 3, history)[0].code

    assert code(facts(), TaskHistory(agent_id=None, outcomes=(outcome(),))) == "done"
    assert code(facts(), None) == "pending"
    assert code(over, None) == "missing"
    assert code(over, TaskHistory(agent_id=None)) == "missing"
    assert code(facts(), TaskHistory(agent_id=None, attempts=(died,))) == "pending"
    assert "1 hosts died" in why_task(facts(), "map", 3, TaskHistory(agent_id=None, attempts=(died,)))[0].what
    reason = why_task(facts(), "map", 3, TaskHistory(agent_id=None, outcomes=(failed,), attempts=(lives,)))[0]
    assert (reason.code, reason.since) == ("in_flight", 4.0)
    assert "colony-host-1" in reason.what
    reason = why_task(over, "map", 3, TaskHistory(agent_id=None, outcomes=(failed,)))[0]
    assert (reason.code, reason.frees) == ("failed", "colony retry 7")
    assert "TaskTimeout" in reason.what


@given(
    progress=st.none()
    | st.builds(
        Progress,
        template=st.just("t"),
        key=st.just("k"),
        phase=st.sampled_from(["opening", "loading", "running", "waiting", "calling", "deciding", "closed"]),
        paused=st.booleans(),
        batches=st.integers(0, 3),
        tasks=st.integers(0, 9),
        done=st.integers(0, 9),
        failed=st.integers(0, 9),
        waiting_for=st.sampled_from(["", "Overloaded", "Unavailable", "resume"]),
    ),
    state=st.sampled_from(JobState),
    hosts=st.lists(st.floats(-99, 99), max_size=3),
    unowned=st.integers(0, 1024),
)
def test_there_is_always_an_answer(
    progress: Progress | None, state: JobState, hosts: list[float], unowned: int
) -> None:
    leases = tuple(HOST.model_copy(update={"expires_in": left}) for left in hosts)
    reasons = why_job(JobFacts(view=view(state), progress=progress, leases=leases, unowned=unowned))
    assert reasons
    assert all(line for line in spoken(reasons, 0.0))
