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
from workflows.catalogue import actions_of
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
    check_template(Id(name), templates, CONFIG, actions_of(CONFIG))


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
