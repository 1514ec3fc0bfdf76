from __future__ import annotations

from typing import Any

import pytest

from colony.contracts import StepCounts
from colony.errors import BadInput, NotFound
from colony.ids import Id
from colony.jobs import ApprovalPlan, Condition, JobPlan, StepKind, StepPlan, StepSource
from workflows.boundary import answer_of, parent_of
from workflows.conditions import at_path, holds
from workflows.contracts import Answer, PendingApproval, SteeringState, TakeFrom
from workflows.loading import taken_from
from workflows.steering import Steering
from workflows.ways import past, steps_seen, takes_of

ASK = ApprovalPlan(prompt="?", timeout=1, default="reject")
PLAN = JobPlan(
    job=1,
    key="k",
    workflow_id="w",
    template=Id("t"),
    steps=(
        StepPlan(number=0, name=Id("load"), kind=StepKind.LOAD),
        StepPlan(number=1, name=Id("ask"), kind=StepKind.APPROVE, approval=ASK),
    ),
    priority=2,
)


def asked() -> Steering:
    steering = Steering()
    steering.begin(PLAN, None)
    steering.pending = PendingApproval(step="ask", prompt="?", since=0, until=1, default="reject")
    return steering


def test_an_answer_decides_once() -> None:
    steering = asked()
    steering.answer(Answer(comment="fine", by="ann"), 5.0)
    decision = steering.decision("ask")
    assert decision is not None
    assert (decision.approved, decision.comment, decision.by, decision.at) == (True, "fine", "ann", 5.0)
    with pytest.raises(BadInput, match="decided already"):
        steering.check_answer(Answer(step="ask"))
    with pytest.raises(BadInput, match="No approval waits"):
        steering.check_answer(Answer())


def test_what_cannot_be_answered_is_refused() -> None:
    steering = asked()
    with pytest.raises(NotFound, match="no approve step 'load'"):
        steering.check_answer(Answer(step="load"))
    steering.ending = True
    with pytest.raises(NotFound, match="ending"):
        steering.check_answer(Answer())
    with pytest.raises(BadInput, match="not open yet"):
        Steering().check_answer(Answer(step="ask"))


def test_silence_takes_the_default() -> None:
    steering = asked()
    steering.time_out(9.0)
    decision = steering.decision("ask")
    assert decision is not None
    assert (decision.approved, decision.timed_out) == (False, True)


@pytest.mark.parametrize("priority", [0, 6, True, "1", None, 2.0])
def test_priorities_are_one_to_five(priority: object) -> None:
    with pytest.raises(BadInput):
        Steering().check_priority(priority)


def test_a_next_run_knows_what_this_one_was_told() -> None:
    steering = asked()
    assert steering.priority == 2
    steering.set_priority(5)
    steering.pause(paused=True)
    steering.answer(Answer(), 1.0)
    state = SteeringState.model_validate_json(steering.state().model_dump_json())
    after = Steering()
    after.begin(PLAN, state)
    assert (after.paused, after.priority, after.decisions) == (True, 5, steering.decisions)
    newer = Steering()
    newer.pause(paused=False)
    newer.begin(PLAN, state)
    assert not newer.paused, "what came in since is newer"
    other = Steering()
    other.set_priority(1)
    other.begin(PLAN, state)
    assert (other.paused, other.priority) == (True, 1), "a word on something else ends no pause"


def test_a_pause_is_as_old_as_its_first_word() -> None:
    steering = Steering()
    steering.pause(paused=True, at=5.0)
    steering.pause(paused=True, at=9.0)
    assert steering.progress()["paused_since"] == 5.0
    after = Steering()
    after.begin(PLAN, SteeringState.model_validate_json(steering.state().model_dump_json()))
    assert after.progress() | {"paused": True, "paused_since": 5.0} == after.progress()
    after.pause(paused=False)
    assert after.progress()["paused_since"] is None


@pytest.mark.parametrize("given", [[1], ["x"], [{"oops": 1}], [{"approve": "maybe"}], [{}, {}]])
def test_answers_that_cannot_be_understood_are_bad_input(given: list[Any]) -> None:
    with pytest.raises(BadInput):
        answer_of(given)


def test_only_a_note_of_ours_is_a_parent() -> None:
    assert parent_of({"key": "k", "depth": 1}) is not None
    assert parent_of({"depth": 1}) is None
    assert parent_of("x") is None


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ({"equals": 1}, 1, True),
        ({"equals": 1}, True, False),
        ({"differs": "a"}, "b", True),
        ({"at_least": 2, "at_most": 3}, 2.5, True),
        ({"at_least": 2, "at_most": 3}, 4, False),
        ({"is_in": ["a", 1]}, "a", True),
        ({"given": False}, None, True),
        ({"given": True}, None, False),
    ],
)
def test_conditions(condition: dict[str, Any], value: Any, expected: bool) -> None:
    assert holds(Condition.model_validate(condition), value) is expected


def test_a_bound_wants_a_number() -> None:
    with pytest.raises(BadInput, match="at_least needs a number"):
        holds(Condition(at_least=1), "many")


def test_paths_lead_through_objects_and_lists() -> None:
    value = {"a": [{"b": 1}, {"b": 2}]}
    assert at_path(value, "a.1.b") == 2
    assert at_path(value, "") == value
    for nowhere in ("a.9.b", "a.x", "a.1.b.c", "z", "a.-1"):
        assert at_path(value, nowhere) is None


def test_a_step_over_what_was_skipped_takes_what_ran_last() -> None:
    steps = [StepCounts(number=n, name=str(n), skipped=n in (1, 3)) for n in range(4)]

    def over(*sources: StepSource) -> StepPlan:
        return StepPlan(number=4, name=Id("x"), kind=StepKind.MAP, over=1, sources=sources)

    assert takes_of(over(), steps) is None
    assert takes_of(over(StepSource(steps=(3, 2))), steps) == (TakeFrom(step=2),)
    assert takes_of(over(StepSource(steps=(3, 1))), steps) is None
    assert takes_of(PLAN.steps[0], steps) == ()
    seen = steps_seen(PLAN, past(PLAN, 0, 1), closed=False)
    assert [step.state for step in seen] == ["skipped", "current"]


def test_work_handed_off_is_told_from_results() -> None:
    handed = b'{"hand_off": {"agent": "a", "action": "b", "payload": {"n": 1}}}'
    assert taken_from(handed, "to a/b") == b'{"n":1}'
    assert taken_from(handed, "to a/c") is None
    assert taken_from(handed, "not a/b a/c") is None
    assert taken_from(handed, "not a/c") == handed, "what the step does not allow is a result like any other"
    assert taken_from(b'{"n": 1}', "not a/b") == b'{"n": 1}'
    for odd in (b"{}", b'{"hand_off": 1}', b'{"hand_off": {"agent": 1}}'):
        assert taken_from(odd, "to a/b") is None
