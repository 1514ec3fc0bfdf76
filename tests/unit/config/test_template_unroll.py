from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.skills.discussion import Discussion
from colony.config.templates import TemplateConfig
from colony.config.unroll import TemplateInvalid, unroll
from colony.config.unroll_parts import TURN_SECONDS, Overrides
from colony.config.yaml_lines import parse_document
from colony.jobs import JobPlan, StepKind, StepPlan

LOAD = "- {name: load, kind: load}\n"
WORK = "agent: a, action: b"


def template(steps: str, inputs: str = "{}") -> TemplateConfig:
    return TemplateConfig.model_validate(parse_document(f"inputs: {inputs}\nsteps:\n{LOAD}{steps}").data)


def names(steps: tuple[StepPlan, ...]) -> list[str]:
    return [str(step.name) for step in steps]


def test_a_chain_becomes_maps_and_has_the_outcomes_of_its_last_link() -> None:
    steps = unroll(
        template(
            f"- {{name: c, kind: chain, over: load, steps: [{{name: x, {WORK}}}, {{name: y, {WORK}}}]}}\n"
            f"- {{name: z, kind: report, over: c}}"
        )
    )
    assert [(step.name, step.over) for step in steps] == [("load", None), ("x", 0), ("y", 1), ("z", 2)]


def test_a_loop_is_unrolled_and_its_last_turn_that_ran_counts_afterwards() -> None:
    steps = unroll(
        template(
            f"""- {{name: first, over: load, {WORK}}}
- name: loop
  kind: loop
  most: 3
  carry: {{first: more}}
  until: {{on: {{step: sum, field: ok}}, when: {{equals: true}}}}
  steps: [{{name: more, over: first, {WORK}}}, {{name: sum, kind: reduce, over: more, {WORK}}}]
- {{name: last, over: more, {WORK}}}
- {{name: again, over: first, {WORK}}}"""
        )
    )
    assert names(steps) == [
        "load", "first", "more", "sum", "loop", "more-2", "sum-2", "loop-2", "more-3", "sum-3", "last", "again",
    ]  # fmt: skip
    by_name = {str(step.name): step for step in steps}
    assert by_name["more"].over == 1
    assert by_name["more-2"].over == 2
    assert by_name["last"].sources[0].steps == (8, 5, 2)
    assert by_name["again"].over == 1, "outside the loop the name means what it meant before"
    branch = by_name["loop-2"].branch
    assert branch is not None
    assert (branch.on.steps, branch.cases[0].go, branch.otherwise) == ((6, 3), 10, 8)


def test_a_branch_and_an_approval_go_forwards() -> None:
    cases = "[{when: {at_least: 1}, go: c}]"
    steps = unroll(
        template(
            f"""- {{name: m, over: load, {WORK}}}
- {{name: one, kind: reduce, over: m, {WORK}}}
- {{name: go, kind: branch, on: {{step: one, count: failed}}, cases: {cases}, otherwise: end}}
- {{name: ask, kind: approve, prompt: "?", on_reject: skip}}
- {{name: c, kind: chain, over: m, steps: [{{name: x, {WORK}}}]}}"""
        )
    )
    branch, approval = steps[3].branch, steps[4].approval
    assert branch is not None
    assert approval is not None
    assert (branch.cases[0].go, branch.otherwise, approval.on_reject) == (5, 6, 6)


@pytest.mark.parametrize(
    ("steps", "says", "where"),
    [
        (f"- {{name: a, over: b, {WORK}}}\n- {{name: b, over: load, {WORK}}}", "'b', which is no earlier step", 1),
        (f"- {{name: a, over: a, {WORK}}}", "which is no earlier step", 1),
        (f"- {{name: a, {WORK}}}", "over None", 1),
        (f"- {{name: load, over: load, {WORK}}}", "two steps are called 'load'", 1),
        (f"- {{name: end, over: load, {WORK}}}", "no step can be called 'end'", 1),
        ("- {name: more, kind: load}", "starts with its one `load` step", 1),
        (f"- {{name: a, kind: reduce, over: load, {WORK}}}", "must be a map", 1),
        ("- {name: a, kind: wait, seconds: -1}", "waits 0 to", 1),
        ("- {name: a, kind: wait, until: tomorrow}", "waits until a moment", 1),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$input: no}}}}}}", "no input 'no'", 1),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: [{{$step: a}}]}}}}", "whole parameter", 1),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$step: no}}}}}}", "'no', which is no earlier", 1),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$step: load, oops: 1}}}}}}", "not right", 1),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$step: load, field: y}}}}}}", "no result", 1),
        (
            "- {name: a, kind: branch, on: {step: load, count: ok}, cases: [{when: {equals: 1}, go: load}]}",
            "no later step",
            1,
        ),
        ("- {name: a, kind: approve, prompt: x, on_reject: a}", "no later step", 1),
    ],
)
def test_what_is_wrong_is_told_with_its_place(steps: str, says: str, where: int) -> None:
    with pytest.raises(TemplateInvalid, match=says) as caught:
        unroll(template(steps))
    assert caught.value.where[:2] == ("steps", where)


def test_a_bomb_of_loops_is_refused() -> None:
    inner = f"{{name: w, over: load, {WORK}}}, {{name: s, kind: reduce, over: w, {WORK}}}"
    for depth in range(4):
        until = "{on: {step: s, count: ok}, when: {equals: 1}}"
        inner = f"{{name: l{depth}, kind: loop, most: 20, until: {until}, steps: [{inner}]}}"
    with pytest.raises(TemplateInvalid, match="more than 200 steps"):
        unroll(template(f"- {inner}"))


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{name: a, kind: wait}", "either seconds or until"),
        ("{name: a, kind: wait, seconds: 1, agent: b}", "has no 'agent'"),
        (f"{{name: a, over: load, {WORK}, seconds: 5}}", "has no 'seconds'"),
        ("{name: a, over: load, agent: b}", "needs an agent and an action"),
        ("{name: a, kind: oops}", "kind"),
        ("{name: a, kind: branch, on: {step: load, count: ok}, cases: [{when: {}, go: end}]}", "a condition names"),
        ("{name: a, kind: group, over: load}", "needs members"),
    ],
)
def test_a_field_that_does_not_fit_the_kind_is_refused(step: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        template(f"- {step}")


def test_inputs_stand_anywhere_in_parameters() -> None:
    found = unroll(
        template(
            f"- {{name: a, over: load, {WORK}, parameters: {{x: [1, {{y: {{$input: t}}}}]}}}}", "{t: {type: list}}"
        ),
        {"t": ["u"]},
    )
    assert found[1].parameters == {"x": [1, {"y": ["u"]}]}


def group(more: str, given: dict[str, Any] | None = None) -> StepPlan:
    text = f"- {{name: g, kind: group, over: load, members: [{{{WORK}}}], {more}}}"
    return unroll(template(text, "{t: {type: number}}"), None, Overrides(parameters={"g": given or {}}))[1]


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ("turns: 4", 60),
        (f"turns: 5, decides: {{{WORK}}}", 70),
        ("turns: 50", 510),
        ("turns: 4, parameters: {turn_seconds: 100}", 410),
        ("turns: 4, parameters: {turn_seconds: {$input: t}}", 60),
        ("turns: 4, task_seconds: 50", 50),
        ("turns: 2, parameters: {turn_seconds: soon}", 60),
        (f"turns: 2, parameters: {{turn_seconds: 1{'0' * 400}}}", 60),
    ],
)
def test_a_discussion_has_time_for_all_its_turns(more: str, seconds: float) -> None:
    assert group(more).task_seconds == seconds


def test_a_discussion_that_could_never_end_in_time_is_refused() -> None:
    for more in ("turns: 4, task_seconds: 40", "turns: 40, parameters: {turn_seconds: 600}"):
        with pytest.raises(TemplateInvalid, match=r"may talk for .* s, and its task_seconds are"):
            group(more)
    with pytest.raises(TemplateInvalid, match="may talk for 400 s, and its task_seconds are 70"):
        group("turns: 4, task_seconds: 70", {"turn_seconds": 100})
    assert group("turns: 4", {"turn_seconds": 100}).task_seconds == 410


def test_the_time_of_a_turn_is_the_one_that_agents_take() -> None:
    assert Discussion.model_fields["turn_seconds"].default == TURN_SECONDS


def test_a_wait_for_an_input_needs_the_input_in_a_job_only() -> None:
    for field, kind, good in (("seconds", "number", 5), ("until", "string", "2030-01-31")):
        waits = template(f"- {{name: w, kind: wait, {field}: {{$input: long}}}}", f"{{long: {{type: {kind}}}}}")
        unroll(waits)
        unroll(waits, {"long": good})
        with pytest.raises(TemplateInvalid, match="input 'long' says, which is missing"):
            unroll(waits, {"long": None})


_STEP = st.sampled_from(["map", "reduce", "chain", "wait", "approve", "branch", "loop"])


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(_STEP, min_size=1, max_size=8), most=st.integers(1, 4))
def test_any_plan_is_numbered_looks_back_and_goes_forwards(kinds: list[str], most: int) -> None:
    steps: list[dict[str, Any]] = [{"name": "load", "kind": "load"}, _work("m", "load"), _reduce("r", "m")]
    for number, kind in enumerate(kinds):
        steps.append(_made(kind, f"s{number}", most))
    plan = unroll(TemplateConfig.model_validate({"steps": steps}))
    assert [step.number for step in plan] == list(range(len(plan)))
    assert len(set(names(plan))) == len(plan)
    for step in plan:
        back = [each for source in step.sources for each in source.steps] + ([] if step.over is None else [step.over])
        assert all(each < step.number for each in back)
        if step.branch is not None:
            assert all(
                step.number < go <= len(plan) for go in [*(c.go for c in step.branch.cases), step.branch.otherwise]
            )
            assert all(each < step.number for each in step.branch.on.steps)
    whole = JobPlan(job=1, key="k", workflow_id="w", template=plan[0].name, steps=plan)
    assert JobPlan.model_validate_json(whole.model_dump_json()) == whole
    assert plan[0].kind is StepKind.LOAD


def _work(name: str, over: str) -> dict[str, Any]:
    return {"name": name, "over": over, "agent": "a", "action": "b"}


def _reduce(name: str, over: str) -> dict[str, Any]:
    return {**_work(name, over), "kind": "reduce"}


def _made(kind: str, name: str, most: int) -> dict[str, Any]:
    on = {"step": "r", "count": "ok"}
    match kind:
        case "map":
            return _work(name, "m")
        case "reduce":
            return _reduce(name, "m")
        case "chain":
            links = [
                {"name": f"{name}x", "agent": "a", "action": "b"},
                {"name": f"{name}y", "agent": "a", "action": "b"},
            ]
            return {"name": name, "kind": "chain", "over": "m", "steps": links}
        case "wait":
            return {"name": name, "kind": "wait", "seconds": 1}
        case "approve":
            return {"name": name, "kind": "approve", "prompt": "?", "on_reject": "skip"}
        case "branch":
            return {"name": name, "kind": "branch", "on": on, "cases": [{"when": {"equals": 1}, "go": "end"}]}
        case _:
            body = [_work(f"{name}x", "m"), _reduce(f"{name}y", f"{name}x")]
            until = {"on": {"step": f"{name}y", "field": "x"}, "when": {"given": True}}
            return {
                "name": name,
                "kind": "loop",
                "most": most,
                "until": until,
                "carry": {"m": f"{name}x"},
                "steps": body,
            }
