"""Is a template one that could run? Everything a job would be refused for, found before there is a job. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.config.unroll import unroll
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import StepPlan
from workflows.inputs import wrong_with
from workflows.opening import check_actions, check_calls, doers_of


def check_template(
    name: Id, templates: Mapping[Id, TemplateConfig], config: Config, known: Mapping[AgentType, frozenset[str]]
) -> tuple[StepPlan, ...]:
    """The steps of the template, with inputs left open. `known` are the actions of agent types.

    Raises `BadInput` for a template whose jobs would be refused: references, types, actions, calls, defaults.
    """
    template = templates[name]
    steps = unroll(template)
    check_calls(name, templates)
    for step in steps:
        for agent_type, _ in doers_of(step):
            if agent_type not in config.fleet.types:
                raise BadInput(
                    f"Step {step.name!r} needs agents of type {agent_type!r}, which is not configured.",
                    remedy=f"Types: {', '.join(config.fleet.types)}.",
                )
    check_actions(steps, known)
    for field, declared in template.inputs.items():
        problem = "" if declared.default is None else wrong_with(declared.default, declared)
        if problem:
            raise BadInput(f"The default of the input {str(field)!r} {problem}.")
    return steps
