"""What a job would only find out half-way is refused before it has a step under way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.config.built_in import BUILT_IN
from colony.config.templates import InputConfig, TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import AgentSpec, JobState
from colony.errors import BadInput
from colony.ids import AgentType, Id, agent_name
from colony.jobs import JobPlan
from colony.ledger.memory import MemoryLedger
from workflows.activities_io import IoActivities
from workflows.contracts import OpenJob
from workflows.inputs import check_given

LOAD = "- {name: load, kind: load, rows: [{text: a}]}\n"
GROUP = """- name: debate
  kind: group
  over: load
  members: [{agent: analysis, action: sentiment}, {agent: processing, action: clean}]
  decides: {agent: research, action: search}
"""


def template(steps: str, inputs: str = "{}") -> TemplateConfig:
    return TemplateConfig.model_validate(parse_document(f"inputs: {inputs}\nsteps:\n{LOAD}{steps}").data)


class Door:
    """Opens jobs of templates on a fleet of one agent for each of `types`."""

    def __init__(self, *types: str, **templates: TemplateConfig) -> None:
        config = BUILT_IN.model_copy(update={"workflows": {Id(name): each for name, each in templates.items()}})
        self.ledger = MemoryLedger(SystemClock())
        self._specs = [AgentSpec(agent_id=agent_name(AgentType(kind), 0), agent_type=AgentType(kind)) for kind in types]
        self._io = IoActivities(self.ledger, config, [], fleet=self.ledger if types else None)

    async def open(self, name: str, **given: Any) -> JobPlan:
        await self.ledger.put_agents(self._specs)
        request = OpenJob(template=name, input=json.dumps(given), key=f"key-{name}", workflow_id="w")
        return await ActivityEnvironment().run(self._io.open_job, request)


@pytest.mark.parametrize(
    ("types", "missing"),
    [
        (("analysis", "processing", "research"), "coordination"),
        (("coordination", "processing", "research"), "analysis"),
        (("coordination", "analysis", "research"), "processing"),
        (("coordination", "analysis", "processing"), "research"),
    ],
)
async def test_a_group_needs_everybody_who_speaks(types: tuple[str, ...], missing: str) -> None:
    door = Door(*types, talk=template(GROUP))
    with pytest.raises(
        BadInput, match=rf"'debate' needs agents of type '{missing}', and none is deployed.*{missing}=20"
    ):
        await door.open("talk")
    view = await door.ledger.job("key-talk")
    assert (view.state, view.steps) == (JobState.FAILED, ())
    door = Door(*types, missing, talk=template(GROUP))
    assert (await door.open("talk")).steps[1].name == "debate"


async def test_a_pipeline_of_agents_nobody_deployed_is_refused() -> None:
    work = "{name: w, over: load, agent: analysis, action: sentiment"
    hand_off = f"- {work}, hand_off: {{to: [{{agent: research, action: search}}]}}}}\n"
    door = Door("processing", plain=template(f"- {work}}}\n"), handing=template(hand_off))
    with pytest.raises(BadInput, match="type 'analysis', and none is deployed"):
        await door.open("plain")
    inline: dict[str, Any] = {
        "steps": [{"name": "load", "kind": "load", "rows": [{}]}, parse_document(f"{work}}}").data]
    }
    with pytest.raises(BadInput, match="type 'analysis', and none is deployed"):
        await door.open("pipeline", template=inline)
    door = Door("analysis", handing=template(hand_off))
    with pytest.raises(BadInput, match="type 'research', and none is deployed"):
        await door.open("handing")


async def test_a_member_of_a_type_nobody_configured_is_told_so() -> None:
    door = Door("coordination", "analysis", talk=template(GROUP.replace("processing", "dreamer")))
    with pytest.raises(BadInput, match="type 'dreamer', which is not configured"):
        await door.open("talk")


@pytest.mark.parametrize("odd", [[], {}, 7, [[]], [{"agent": [], "action": {}}], [{"agent": "analysis"}]])
async def test_members_of_another_shape_in_a_job_break_nothing(odd: Any) -> None:
    door = Door("coordination", "analysis", "processing", "research", talk=template(GROUP))
    assert await door.open("talk", parameters={"debate": {"members": odd}})


async def test_a_wrong_field_of_a_result_is_refused() -> None:
    steps = "- {name: a, over: load, agent: processing, action: clean}\n"
    wrong = steps + "- {name: b, over: a, agent: probe, action: echo, parameters: {x: {$step: a, field: txt}}}"
    door = Door(wrong=template(wrong), right=template(wrong.replace("txt", "text")))
    with pytest.raises(
        BadInput, match=r"'b' reads 'txt' of step 'a', and its result has no field 'txt'.*mean 'text'\?"
    ):
        await door.open("wrong")
    assert await door.open("right")


@pytest.mark.parametrize(
    ("field", "kind", "good"), [("seconds", "number", 5), ("until", "string", "2030-01-31T08:00:00Z")]
)
async def test_a_wait_for_an_input_that_is_missing_is_refused(field: str, kind: str, good: object) -> None:
    waits = template(f"- {{name: w, kind: wait, {field}: {{$input: long}}}}", f"{{long: {{type: {kind}}}}}")
    with pytest.raises(BadInput, match=r"'w' waits .* input 'long' says, which is missing"):
        await Door(waits=waits).open("waits")
    plan = await Door(waits=waits).open("waits", long=good)
    assert plan.steps[1].wait is not None


NEEDS = "{topic: {required: true}, words: {type: integer, minimum: 40}, level: {required: true, default: low}}"
CALL = "- {name: sub, kind: call, template: called, input: {topic: {$input: t}, words: {$input: w}}}"
GIVEN = "{t: {}, w: {type: integer}}"


async def test_what_a_call_hands_on_is_judged_with_the_inputs_of_the_job() -> None:
    def door() -> Door:
        return Door(called=template("", NEEDS), calls=template(CALL, GIVEN))

    assert await door().open("calls", t="x", w=40)
    assert await door().open("calls", t="x")
    with pytest.raises(BadInput, match=r"'sub' calls 'called': The input field 'topic' is missing"):
        await door().open("calls", w=40)
    with pytest.raises(BadInput, match="'words' is 3, less than 40"):
        await door().open("calls", t="x", w=3)


def called(rows: bool = True) -> TemplateConfig:
    fields = {Id("topic"): InputConfig(required=True), Id("words"): InputConfig(type="integer", minimum=40)}
    load = template("") if rows else TemplateConfig.model_validate({"steps": [{"name": "load", "kind": "load"}]})
    return load.model_copy(update={"inputs": fields})


@pytest.mark.parametrize(
    ("given", "read", "says"),
    [
        ({"topic": "x", "word": 50}, (), "unknown field 'word'. Did you mean 'words'"),
        ({"topic": "x"}, ("word",), "unknown field 'word'"),
        ({"words": 50}, (), "'topic' is missing"),
        ({"topic": 5}, (), "'topic' is a whole number, not a text"),
        ({"topic": "x", "words": 3}, (), "less than 40"),
        ({"topic": "x", "priority": 9}, (), "'priority' is wrong"),
        ({"topic": "x", "source": "a.csv"}, (), "takes its rows from its own inputs"),
        ({"topic": "x", "tenant": 9}, (), "'tenant' is wrong"),
    ],
)
@pytest.mark.parametrize("settled", [True, False])
def test_a_call_is_judged_by_the_template_it_calls(
    given: dict[str, Any], read: tuple[str, ...], says: str, settled: bool
) -> None:
    with pytest.raises(BadInput, match=says):
        check_given(given, read, called(), settled=settled)


def test_what_is_not_known_yet_is_not_judged() -> None:
    check_given({}, ("topic", "words"), called(), settled=True)
    check_given({"topic": None, "words": None, "columns": {"a": None}}, (), called(), settled=False)
    check_given({"topic": "x", "words": None}, (), called(), settled=True)
    with pytest.raises(BadInput, match="'topic' is missing"):
        check_given({"topic": None}, (), called(), settled=True)
    for settled in (True, False):
        with pytest.raises(BadInput, match="names no source"):
            check_given({"topic": "x"}, (), called(rows=False), settled=settled)
        check_given({"topic": "x", "tasks": 1}, (), called(rows=False), settled=settled)
        check_given({"topic": "x"}, ("source",), called(rows=False), settled=settled)


async def test_templates_that_call_one_another_a_thousand_ways_are_looked_at_once() -> None:
    ways = {
        f"t{depth}": template("".join(f"- {{name: c{n}, kind: call, template: t{depth + 1}}}\n" for n in range(40)))
        for depth in range(5)
    }
    assert await Door(**ways, t5=template("")).open("t0")


@pytest.mark.parametrize("odd", ["\ud800", ["\udfff"], {"a": {"\ud800": 1}}])
async def test_a_text_that_no_plan_can_hold_is_refused(odd: Any) -> None:
    work = "- {name: work, over: load, agent: probe, action: noop, parameters: {about: {$input: given}}}"
    kind = {str: "string", list: "list", dict: "object"}[type(odd)]
    door = Door(work=template(work, f"{{given: {{type: {kind}}}}}"))
    with pytest.raises(BadInput, match="no JSON"):
        await door.open("work", given=odd)
    assert (await door.ledger.job("key-work")).state is JobState.FAILED
