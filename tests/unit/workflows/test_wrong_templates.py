"""Templates that could never run are refused before there is a job, by the same words everywhere, and quickly."""

from __future__ import annotations

from pathlib import Path

import pytest

from colony.config.built_in import BUILT_IN
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.errors import BadInput, ColonyError, ConfigInvalid, NotFound
from colony.ids import Id
from control.settings import load_file
from workflows.catalogue import actions_of, results_of
from workflows.checking import check_template
from workflows.templates import with_templates

CONFIG = with_templates(BUILT_IN)
WORK = "agent: analysis, action: sentiment"
LOAD = "- {name: load, kind: load, rows: [{text: a}]}\n"


def check(steps: str, *, name: str = "wrong", **others: str) -> None:
    found = {
        Id(each): TemplateConfig.model_validate(parse_document(f"steps:\n{LOAD}{text}").data)
        for each, text in {name: steps, **others}.items()
    }
    templates = {**CONFIG.workflows, **found}
    check_template(Id(name), templates, CONFIG, actions_of(CONFIG), results_of(CONFIG))


def load(folder: Path, text: str) -> None:
    path = folder / "agent_config.yaml"
    path.write_text(text)
    load_file(path)


def test_a_right_one_is_right() -> None:
    check(f"- {{name: a, over: load, {WORK}}}")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (f"- {{name: a, over: b, {WORK}}}\n- {{name: b, over: a, {WORK}}}", "'b', which is no earlier step"),
        (f"- {{name: a, over: a, {WORK}}}", "'a', which is no earlier step"),
        ("- {name: a, over: load, agent: dreamer, action: dream}", "type 'dreamer', which is not configured"),
        ("- {name: a, over: load, agent: analysis, action: dream}", "'dream'"),
        (f"- {{name: a, over: nowhere, {WORK}}}", "'nowhere', which is no earlier step"),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$input: no}}}}}}", "no input 'no'"),
        (f"- {{name: a, over: load, {WORK}, parameters: {{x: {{$step: no}}}}}}", "'no', which is no earlier"),
        ("- {name: a, kind: call, template: nothing}", "nothing"),
        ("- {name: a, kind: group, over: load, members: [{agent: dreamer, action: dream}]}", "dreamer"),
        ("- {name: a, kind: group, over: load, members: [{agent: analysis, action: dream}]}", "'dream'"),
        (
            "- {name: a, kind: group, over: load, members: [{agent: analysis, action: sentiment}],"
            " decides: {agent: analysis, action: dream}}",
            "'dream'",
        ),
    ],
)
def test_what_names_something_that_is_not_there_is_refused(steps: str, says: str) -> None:
    with pytest.raises((BadInput, NotFound, ConfigInvalid), match=says):
        check(steps)


CLEAN = "agent: processing, action: clean"
TALK = f"{{name: t, kind: group, over: load, members: [{{{CLEAN}}}, {{{WORK}}}]"
BEFORE = f"""- {{name: m, over: load, {CLEAN}}}
- {{name: all, kind: reduce, over: m, agent: coordination, action: merge}}
- {{name: c, kind: chain, over: load, steps: [{{name: x, {WORK}}}, {{name: y, {CLEAN}}}]}}
- {TALK}, decides: {{{CLEAN}}}}}
- {{name: any, over: load, {WORK}}}
- {{name: ask, kind: approve, prompt: "?"}}
- {{name: sub, kind: call, template: durable_tasks, input: {{tasks: 1}}}}
"""


def reading(step: str, field: str) -> str:
    return f"{BEFORE}- {{name: r, over: load, {CLEAN}, parameters: {{v: {{$step: {step}, field: {field}}}}}}}\n"


@pytest.mark.parametrize(
    ("step", "field", "says"),
    [
        ("m", "txt", "'r' reads 'txt' of step 'm', and its result has no field 'txt'. Did you mean 'text'"),
        ("all", "counts", "Did you mean 'count'"),
        ("c", "txt", "of step 'y', and its result has no field 'txt'"),
        ("t", "decisions", "Did you mean 'decision'"),
        ("t", "decision.txt", "of step 't', and decision has no field 'txt'. Did you mean 'text'"),
        ("ask", "aproved", "Did you mean 'approved'"),
        ("ask", "approved.by", "approved has no field 'by'. There is nothing below it"),
        ("sub", "result", "It has: artifacts, job, reason, state, steps, workflow_id"),
        ("sub", "steps.wrk.ok", "steps has no field 'wrk'. Did you mean 'work'"),
        ("sub", "steps.work.good", "steps.work has no field 'good'"),
    ],
)
def test_a_field_that_no_result_has_is_refused(step: str, field: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check(reading(step, field))


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ("m", "hash"),
        ("m", "text.0"),
        ("all", "rows.0.n"),
        ("c", "sentences"),
        ("t", "decision.text"),
        ("t", "transcript.0.said"),
        ("any", "whatever.it.is"),
        ("ask", "comment"),
        ("sub", "artifacts.0"),
        ("sub", "steps.work.ok"),
        ("sub", "state"),
    ],
)
def test_a_field_that_a_result_may_have_is_right(step: str, field: str) -> None:
    check(reading(step, field))


def test_fields_are_looked_at_wherever_a_value_is_read() -> None:
    on = "{step: ask, field: aproved}"
    wrong = [
        f"- {{name: b, kind: branch, on: {on}, cases: [{{when: {{equals: true}}, go: end}}]}}",
        f'- {{name: b, kind: approve, prompt: "?", show: {on}}}',
        f"- {{name: b, kind: loop, most: 2, until: {{on: {on}, when: {{equals: 1}}}},"
        f" steps: [{{name: i, over: m, {CLEAN}}}]}}",
        "- {name: b, kind: call, template: durable_tasks, input: {tasks: {$step: ask, field: aproved}}}",
    ]
    for step in wrong:
        with pytest.raises(BadInput, match="'ask', and its result has no field 'aproved'"):
            check(BEFORE + step)
        check(BEFORE + step.replace("aproved", "approved"))


def test_the_last_who_spoke_decides_where_nobody_else_does() -> None:
    read = f"- {{name: r, over: load, {CLEAN}, parameters: {{v: {{$step: t, field: decision.label}}}}}}"
    check(f"- {TALK}}}\n{read}")
    both = TALK.replace(WORK, "agent: processing, action: chunk")
    with pytest.raises(BadInput, match="It has: chunks, hash, sentences, text"):
        check(f"- {both}}}\n{read}")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("durable_tasks, input: {tasks: 3, task: 1}", "'a' calls 'durable_tasks': .*unknown field 'task'"),
        ("durable_tasks, input: {tasks: 0}", "'tasks' is wrong"),
        ("durable_tasks", "names no source"),
        ("content_creation, input: {source: a.csv, word: 3}", "Did you mean 'words'"),
        ("content_creation, input: {source: a.csv, words: many}", "'words' is a text, not a whole number"),
        ("content_creation, input: {source: a.csv, words: 3}", "less than 40"),
    ],
)
def test_a_call_with_input_that_the_called_template_refuses_is_refused(call: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check(f"- {{name: a, kind: call, template: {call}}}")


def test_a_call_with_input_that_fits_is_right() -> None:
    check("- {name: a, kind: call, template: content_creation, input: {source: a.csv, words: 50, priority: 1}}")
    check("- {name: a, kind: call, template: durable_tasks, input: {retry: {job: 7}}}")


def test_templates_that_call_one_another_in_a_circle_are_refused() -> None:
    with pytest.raises(ColonyError, match="ping -> pong -> ping"):
        check("- {name: a, kind: call, template: pong}", name="ping", pong="- {name: a, kind: call, template: ping}")


def test_a_bomb_of_aliases_in_a_template_is_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    bomb = "\n".join(f"          {row}" for row in rows)
    text = "workflows:\n  wrong:\n    steps:\n    - {name: load, kind: load}\n    - name: a\n      over: load\n"
    text += f"      agent: analysis\n      action: sentiment\n      parameters:\n{bomb}\n"
    with pytest.raises(ConfigInvalid, match="aliases counted in full"):
        load(tmp_path, text)


def test_ten_thousand_steps_are_refused(tmp_path: Path) -> None:
    steps = "".join(f"    - {{name: s{number}, over: load, {WORK}}}\n" for number in range(10_000))
    with pytest.raises(ColonyError, match="at most"):
        load(tmp_path, f"workflows:\n  wrong:\n    steps:\n    - {{name: load, kind: load}}\n{steps}")


def test_loops_are_no_way_to_more_steps() -> None:
    def loop(number: int) -> str:
        until = f"{{on: {{step: r{number}, count: ok}}, when: {{equals: 1}}}}"
        body = f"{{name: w{number}, over: load, {WORK}}}, {{name: r{number}, kind: reduce, over: w{number}, {WORK}}}"
        return f"- {{name: l{number}, kind: loop, most: 20, until: {until}, steps: [{body}]}}\n"

    with pytest.raises(BadInput, match="more than 200 steps"):
        check("".join(loop(number) for number in range(5)))
