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
from workflows.opening import check_actions, check_calls, check_types
from workflows.result_fields import Results, check_fields


def check_template(
    name: Id,
    templates: Mapping[Id, TemplateConfig],
    config: Config,
    known: Mapping[AgentType, frozenset[str]],
    results: Results,
) -> tuple[StepPlan, ...]:
    """The steps of the template, with inputs left open.

    `known` are the actions of agent types, `results` the fields of what comes of them. Raises `BadInput` for a template
    whose jobs would be refused: references, fields, types, actions, calls, defaults.
    """
    template = templates[name]
    steps = unroll(template)
    check_calls(name, templates)
    check_types(steps, config.fleet.types)
    check_actions(steps, known)
    check_fields(steps, results, templates)
    for field, declared in template.inputs.items():
        problem = "" if declared.default is None else wrong_with(declared.default, declared)
        if problem:
            raise BadInput(f"The default of the input {str(field)!r} {problem}.")
    return steps
