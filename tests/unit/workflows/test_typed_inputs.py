from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.templates import RESERVED, InputConfig, TemplateConfig
from colony.errors import BadInput
from colony.ids import Id
from colony.jobs import SourcePin
from workflows.contracts import JobInput
from workflows.given_rows import pin_rows, resolved_paths
from workflows.inputs import input_values, parse_input

STEPS = [{"name": "load", "kind": "load"}]


def template(rows: Any = None, **inputs: Any) -> TemplateConfig:
    return TemplateConfig.model_validate({"inputs": inputs, "steps": [{**STEPS[0], "rows": rows}]})


def test_inputs_cannot_have_the_names_that_every_job_has() -> None:
    assert set(JobInput.model_fields) == RESERVED
    with pytest.raises(ValueError, match="cannot be called 'source'"):
        template(source={"type": "path"})


def test_values_and_defaults_are_told_apart_from_what_every_job_may_be_given() -> None:
    job, values = parse_input('{"tasks": 3, "topic": "x"}', template(topic={}, tone={"default": "dry"}, other={}))
    assert job.tasks == 3
    assert values == {"topic": "x", "tone": "dry", "other": None}


@pytest.mark.parametrize(
    ("declared", "value", "says"),
    [
        ({"type": "integer"}, True, "is true or false, not a whole number"),
        ({"type": "integer"}, 1.5, "is a number"),
        ({"type": "number", "maximum": 2}, 3, "is 3, more than 2"),
        ({"type": "number"}, 10**400, "is a number too large"),
        ({"type": "integer", "maximum": 2}, 10**400, "is a number too large"),
        ({"type": "number"}, float("nan"), "not a number"),
        ({"type": "string", "minimum": 1}, "", "has a length of 0, less than 1"),
        ({"type": "string", "choices": ["a", "b"]}, "c", "is none of a, b"),
        ({"type": "list", "maximum": 1}, [1, 2], "length of 2"),
        ({"type": "object"}, [], "is a list, not an object"),
        ({"type": "boolean"}, "yes", "is a text"),
        ({"type": "path"}, "a\0b", "not a path"),
        ({"required": True}, None, "is missing"),
    ],
)
def test_a_wrong_value_is_refused_by_name(declared: dict[str, Any], value: Any, says: str) -> None:
    with pytest.raises(BadInput, match="'field'") as caught:
        input_values({"field": value}, {Id("field"): InputConfig.model_validate(declared)})
    assert says in str(caught.value)


@given(st.dictionaries(st.sampled_from(["topic", "n", "more"]), st.none() | st.integers() | st.text() | st.booleans()))
def test_no_value_raises_anything_but_bad_input(values: dict[str, Any]) -> None:
    here = template(topic={"required": True}, n={"type": "integer", "minimum": 0})
    try:
        _, found = parse_input(json.dumps(values), here)
    except BadInput:
        return
    assert isinstance(found["topic"], str)


def test_rows_come_from_lists_numbers_objects_files_and_folders(tmp_path: Path) -> None:
    here = template({"$input": "given"}, given={"type": "list"})

    def pinned(given: Any) -> SourcePin:
        return pin_rows(here, {"given": given}, [tmp_path])

    assert pinned([{"a": 1}, "b"]).rows == ({"a": 1}, {"value": "b"})
    assert pinned({"a": 1}).rows == ({"a": 1},)
    assert (pinned(7).format, pinned(7).size) == ("range", 7)
    assert pinned(3.0) == pinned(3)
    (tmp_path / "f.csv").write_text("a,b\n1,2\n")
    assert pinned(str(tmp_path / "f.csv")).format == "csv"
    assert pinned("f.csv").path == str(tmp_path / "f.csv")
    (tmp_path / ".hidden").write_text("x")
    assert [row["name"] for row in pinned(str(tmp_path)).rows] == ["f.csv"]
    for wrong in (None, [], 0, True, 2.5, 10**9, 10**30, float("nan"), [{"a": 10**30}], ["\ud800"]):
        with pytest.raises(BadInput):
            pinned(wrong)


def test_paths_stay_below_the_data_roots(tmp_path: Path) -> None:
    declared = {Id("folder"): InputConfig(type="path")}
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (root / "link").symlink_to(tmp_path / "out")
    assert resolved_paths({"folder": "in"}, declared, [root]) == {"folder": str(root / "in")}
    for wrong in ("../out", "link", str(tmp_path / "out"), "nowhere"):
        with pytest.raises(BadInput):
            resolved_paths({"folder": wrong}, declared, [root])
