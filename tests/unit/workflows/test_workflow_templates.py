from __future__ import annotations

from pathlib import Path

from colony.config.load import load_config
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.ids import AgentType, Id
from workflows.contracts import JobInput
from workflows.opening import plan_steps
from workflows.templates import BUILT_IN_TEMPLATES, DURABLE_TASKS, templates_of, with_templates

CONFIG = Path(__file__).parents[3] / "agent_config.yaml"


def test_the_shipped_configuration_is_the_built_in_one() -> None:
    shipped = load_config(CONFIG, environment={}).config
    built_in = with_templates(load_config(None, environment={}).config)
    assert shipped == built_in
    assert sum(kind.count for kind in shipped.fleet.types.values()) == 620
    assert shipped.fleet.types[AgentType("processing")].count == 200


def test_a_configuration_replaces_a_template_by_name() -> None:
    mine = TemplateConfig(steps=DURABLE_TASKS.steps, description="mine")
    merged = templates_of(Config(workflows={Id("durable_tasks"): mine}))
    assert merged[Id("durable_tasks")].description == "mine"
    assert set(merged) == set(BUILT_IN_TEMPLATES)


def test_parameters_of_a_job_reach_their_step() -> None:
    job = JobInput(tasks=1, parameters={"work": {"delay": 1}}, parallel=9)
    steps = plan_steps(job, DURABLE_TASKS)
    assert steps[1].parameters == {"delay": 1}
    assert steps[1].parallel == 9
