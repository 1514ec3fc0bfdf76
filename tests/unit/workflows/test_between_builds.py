"""What travels between builds is read by an older one, whatever a newer one adds to it."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from colony.config.templates import CaseConfig
from colony.contracts import BatchProgress, BatchReport, BatchRequest, Frozen, StepCounts, StepLoad
from colony.errors import Unreadable
from colony.ids import AgentType, Id
from colony.jobs import (
    ApprovalPlan,
    BranchPlan,
    CallPlan,
    CasePlan,
    JobPlan,
    Origin,
    PlannedCondition,
    SourcePin,
    StepKind,
    StepPlan,
    StepSource,
    ValueRef,
    WaitPlan,
)
from workflows.boundary import resume_of
from workflows.conditions import holds
from workflows.contracts import (
    Answer,
    Decision,
    JobInput,
    JobResult,
    JobState,
    ParentNote,
    PendingApproval,
    Progress,
    Range,
    ReportResult,
    Resume,
    SteeringState,
    StepCursor,
    StepTally,
)
from workflows.monitor_boundary import resumed_of
from workflows.monitor_contracts import (
    LaneRange,
    MonitorInput,
    MonitorOpened,
    MonitorResume,
    NoticesSent,
    SiteChange,
    SitesChanged,
    TickReply,
    TickResult,
)

VALUE = ValueRef(steps=(0,), field="score")
PLAN = JobPlan(
    job=7,
    key="key",
    workflow_id="id",
    template=Id("review"),
    steps=(
        StepPlan(
            number=0,
            name=Id("load"),
            kind=StepKind.MAP,
            sources=(StepSource(steps=(0,)),),
            agent_type=AgentType("probe"),
            action=Id("noop"),
            reads={"value": VALUE},
            wait=WaitPlan(seconds=1.0),
            approval=ApprovalPlan(prompt="?", timeout=1.0, default="reject", show=VALUE),
            branch=BranchPlan(on=VALUE, cases=(CasePlan(when=PlannedCondition(at_least=1), go=1),), otherwise=1),
            call=CallPlan(template=Id("other")),
        ),
    ),
    source=SourcePin(path="a.csv", size=1, sha256="0", format="csv"),
    origin=Origin(job=1, step=0),
)
COUNTS = StepCounts(number=0, name="load", tasks=1)
RESUME = Resume(
    plan=PLAN,
    started_at=1.0,
    finished=(COUNTS,),
    cursor=StepCursor(step=0, tasks=3, fresh=(Range(first=0, end=3),)),
    steering=SteeringState(decisions=(Decision(step="ok", approved=True, at=1.0),)),
)
MONITOR = MonitorResume(
    job=1,
    key="key",
    tick=3,
    gap=1.0,
    sites=1,
    lanes=(LaneRange(first=0, end=1, lane=0),),
    finished=(Range(first=1, end=2),),
    reported_day=1,
)
TRAVELLERS: tuple[Frozen, ...] = (
    RESUME,
    MONITOR,
    BatchRequest(job=1, key="key", step=0, first=0, end=9),
    BatchProgress(done=1, failed=0, total=2),
    BatchReport(ok=3, errors={"Unavailable": 1}),
    StepLoad(tasks=3),
    StepTally(tasks=3, ok=3, failed=0, transient=0),
    ReportResult(artifacts=("a",)),
    JobResult(job=1, key="k", workflow_id="w", template="t", state=JobState.DONE, steps=(COUNTS,)),
    ParentNote(key="k", depth=1),
    Progress(
        template="t",
        key="k",
        finished=(COUNTS,),
        approvals=(PendingApproval(step="ok", prompt="?", since=1.0, until=2.0, default="reject"),),
    ),
    MonitorOpened(job=1, sites=2, gap=1.0),
    TickResult(reply=TickReply(changes=1), sites=1, paused=0, next_due=None, notices=0),
    SitesChanged(added=1),
    NoticesSent(sent=1),
)


def with_more(model: Frozen) -> Any:
    """As a newer build would write it: maps of names stay as they are, models have one more field."""
    fields: dict[str, Any] = {}
    for name, value in model:
        if isinstance(value, Frozen):
            fields[name] = with_more(value)
        elif isinstance(value, tuple):
            several = cast("tuple[object, ...]", value)
            fields[name] = [with_more(each) if isinstance(each, Frozen) else each for each in several]
        elif isinstance(value, dict) and any(isinstance(each, Frozen) for each in value.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- any map
            fields[name] = {key: with_more(each) for key, each in cast("dict[str, Frozen]", value).items()}
        else:
            fields[name] = value
    return {**fields, "of_a_newer_build": [1]}


def payload(value: object) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


@pytest.mark.parametrize("model", TRAVELLERS, ids=lambda model: type(model).__name__)
def test_an_unknown_field_is_passed_over_wherever_it_is(model: Frozen) -> None:
    read = type(model).model_validate_json(json.dumps(with_more(model)))
    given = json.loads(read.model_dump_json())
    assert "of_a_newer_build" in json.dumps(with_more(model))
    if isinstance(model, Resume):
        condition = given["plan"]["steps"][0]["branch"]["cases"][0]["when"]
        assert condition.pop("of_a_newer_build") == [1], "kept for the build that knows it"
    assert given == json.loads(model.model_dump_json())


def test_a_pipeline_goes_on_from_what_a_newer_build_handed_over() -> None:
    read = resume_of([payload(with_more(RESUME))])
    assert read is not None
    assert (read.plan.key, read.cursor, read.finished) == (PLAN.key, RESUME.cursor, RESUME.finished)
    assert resumed_of((with_more(MONITOR),)) == MONITOR


def test_a_hand_over_that_cannot_be_read_is_no_input_of_a_user() -> None:
    with pytest.raises(Unreadable, match="'plan'") as caught:
        resume_of([payload({"resume": "colony-1", "started_at": 1.0})])
    assert caught.value.remedy
    with pytest.raises(Unreadable, match="'job'"):
        resumed_of(({"resume": "monitor-1"},))


def test_an_input_that_has_the_mark_somewhere_else_stays_one() -> None:
    assert resume_of([payload({"tenant": "colony-1"})]) is None
    assert resume_of([payload(["colony-1"])]) is None
    assert resumed_of(({"source": "monitor-1"},)) is None
    assert resumed_of(({"resume": ["a.example"]},)) is None


def test_nobody_decides_without_knowing_the_whole_condition() -> None:
    newer = PlannedCondition.model_validate({"at_least": 1, "matches": "x"})
    with pytest.raises(Unreadable, match="'matches'"):
        holds(newer, 2)
    with pytest.raises(Unreadable, match="'matches'"):
        holds(PlannedCondition.model_validate({"matches": "x"}), 2)
    assert holds(PlannedCondition(at_least=1), 2)


@pytest.mark.parametrize("model", [JobInput, MonitorInput, SiteChange, Answer])
def test_what_a_user_writes_is_checked_as_before(model: type[Frozen]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({"of_a_newer_build": 1})


def test_a_condition_of_a_template_is_checked_as_before() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        CaseConfig.model_validate({"when": {"at_least": 1, "matches": "x"}, "go": "end"})
