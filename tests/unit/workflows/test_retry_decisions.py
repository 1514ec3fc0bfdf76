"""Where the retry of a job begins, and what it takes over from the input of the job before."""

from __future__ import annotations

import pytest

from colony.contracts import JobState, JobView, StepCounts
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import ApprovalPlan, JobPlan, StepKind, StepPlan
from workflows.retrying import Retry, RetryInput, carried, origin_of, retry_of

ASK = ApprovalPlan(prompt="?", timeout=1, default="reject")


def task_step(number: int, name: str, over: int, kind: StepKind = StepKind.MAP) -> StepPlan:
    return StepPlan(
        number=number, name=Id(name), kind=kind, over=over, agent_type=AgentType("a"), action=Id("b"), error_budget=0.5
    )


STEPS = (
    StepPlan(number=0, name=Id("load"), kind=StepKind.LOAD),
    task_step(1, "clean", 0),
    StepPlan(number=2, name=Id("ask"), kind=StepKind.APPROVE, approval=ASK),
    StepPlan(number=3, name=Id("pause"), kind=StepKind.WAIT),
    task_step(4, "work", 1),
    StepPlan(number=5, name=Id("report"), kind=StepKind.REPORT, over=4),
    task_step(6, "other", 0),
)
PLAN = JobPlan(job=7, key="k", workflow_id="w", template=Id("t"), steps=STEPS)


def begins(
    clean: tuple[int, int, int],
    work: tuple[int, int, int] = (0, 0, 0),
    *,
    step: str = "",
    whole: bool = False,
    state: JobState = JobState.FAILED,
    plan: JobPlan = PLAN,
    template: str = "t",
) -> str:
    """The name of the step; numbers are tasks, good outcomes, bad outcomes."""
    counts = {1: clean, 4: work, 6: (clean[0], 0, 0)}
    steps = [
        StepCounts(number=each.number, name=each.name, **dict(zip(("tasks", "ok", "failed"), found, strict=True)))
        for each in plan.steps
        for found in [counts.get(each.number, (0, 0, 0))]
    ]
    view = JobView(job=7, key="k", workflow_id="w", template=template, state=state, opened_at=0.0, steps=tuple(steps))
    return str(plan.steps[origin_of(Retry(job="7", step=step, whole=whole), template, view, plan).step].name)


def test_it_begins_where_tasks_have_no_good_outcome() -> None:
    assert begins((4, 3, 1), (3, 3, 0)) == "clean"
    assert begins((4, 4, 0), (4, 1, 3)) == "work"
    assert begins((4, 4, 0), (4, 0, 0)) == "work", "cancelled before its first outcome"


def test_it_begins_at_the_first_step_not_completed_where_no_task_is_undone() -> None:
    assert begins((4, 4, 0)) == "ask", "rejected; and tasks of a later step over the load were written with it"
    assert begins((4, 4, 0), state=JobState.CANCELLED) == "ask"
    assert begins((4, 4, 0), (4, 4, 0)) == "report"
    assert begins((0, 0, 0)) == "load"
    assert begins((4, 0, 0), state=JobState.CANCELLED) == "clean", "the load is done"


def test_a_job_that_is_done_has_nothing_to_go_on_with_unless_a_step_is_named() -> None:
    with pytest.raises(BadInput, match="no task without a good outcome"):
        begins((4, 4, 0), (4, 4, 0), state=JobState.DONE)
    assert begins((4, 4, 0), (4, 4, 0), state=JobState.DONE, step="work", whole=True) == "work"
    assert begins((4, 4, 0), (4, 4, 0), state=JobState.DONE, step="report") == "report"
    assert begins((4, 4, 0), (4, 4, 0), state=JobState.DONE, step="ask") == "ask"


def test_a_named_step_without_tasks_is_taken_once_it_was_reached() -> None:
    assert begins((4, 4, 0), step="ask") == "ask"
    assert begins((4, 4, 0), step="pause") == "pause"
    assert begins((4, 3, 1), (3, 3, 0), step="report") == "report", "bad outcomes within the budget are borne"
    for name, clean in (("report", (4, 4, 0)), ("ask", (4, 1, 3)), ("ask", (4, 2, 0)), ("work", (4, 4, 0))):
        with pytest.raises(BadInput, match="never reached"):
            begins(clean, step=name)


@pytest.mark.parametrize(
    ("step", "says"), [("load", "is done"), ("clean", "All tasks"), ("nothing", "has no step 'nothing'")]
)
def test_what_cannot_be_begun_at_is_refused(step: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        begins((4, 4, 0), step=step)


def test_jobs_that_cannot_be_retried_are_refused() -> None:
    with pytest.raises(BadInput, match="still runs"):
        begins((4, 1, 0), state=JobState.RUNNING)
    with pytest.raises(BadInput, match="refused before its first step"):
        begins((0, 0, 0), plan=PLAN.model_copy(update={"steps": ()}))
    for state in JobState:
        with pytest.raises(BadInput, match="website_monitor: it has nothing"):
            begins((4, 1, 0), template="website_monitor", state=state)


def test_priority_tenant_and_budget_come_along_unless_they_are_given() -> None:
    before = {"priority": 1, "tenant": "acme", "llm_tokens": 900, "tasks": 7, "source": "a.csv"}
    asked = RetryInput(retry=Retry(job="7"))
    found = carried(asked, before)
    assert (found.priority, found.tenant, found.llm_tokens, found.tasks) == (1, "acme", 900, None)
    assert found.model_dump(exclude_unset=True).keys() == {"retry", "priority", "tenant", "llm_tokens"}
    given = retry_of('{"retry": {"job": "7"}, "priority": 4, "llm_tokens": 5}')
    assert given is not None
    found = carried(given, before)
    assert (found.priority, found.tenant, found.llm_tokens) == (4, "acme", 5)
    odd = carried(asked, {"tenant": ["an input of the template"]})
    assert odd.tenant == ""
    with pytest.raises(BadInput, match="llm_tokens"):
        retry_of('{"retry": {"job": "7"}, "llm_tokens": 0}')
