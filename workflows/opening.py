"""From a user's input to the frozen plan of a job: pure decisions but for the look at the source file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from colony.config.templates import TemplateConfig
from colony.config.unroll import TemplateInvalid, step_names, unroll
from colony.config.unroll_parts import DISCUSS, Overrides
from colony.errors import BadInput, NotFound
from colony.ids import AgentType, Id
from colony.jobs import CallPlan, JobPlan, SourcePin, StepPlan
from workflows.contracts import JobInput, OpenJob, RangeSource
from workflows.given_rows import pin_rows
from workflows.inputs import check_given
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.monitor_described import NO_CALL
from workflows.naming import about_file
from workflows.policies import MAX_INPUT
from workflows.retrying import FIELD as RETRY
from workflows.sources import pin_file, pin_range, resolve_source

MAX_DEPTH: Final = 5
"""Jobs below one another at most, the one a user started not counted."""


def template_named(name: str, templates: Mapping[Id, TemplateConfig]) -> tuple[Id, TemplateConfig]:
    """The template called `name`. Raises `NotFound` naming those that exist."""
    for known, template in templates.items():
        if known == name:
            return known, template
    raise NotFound(
        f"There is no workflow template called {name[:80]!r}.",
        remedy=f"There are: {', '.join(sorted(templates)) or 'none'}. One that was added to the configuration since"
        " is known after `colony down` and `colony up`.",
    )


def pin_source(
    job: JobInput, template: TemplateConfig, roots: Sequence[Path], values: Mapping[str, Any]
) -> SourcePin | None:
    """What the job reads; None for a template without a load step. Blocks on the file. Raises `BadInput`."""
    source = source_of(job, template)
    if source is None:
        return pin_rows(template, values, roots)
    if isinstance(source, RangeSource):
        return pin_range(source, template)
    path = resolve_source(source, roots)
    with about_file(path.name):
        return pin_file(path, template, job.columns)


def source_of(job: JobInput, template: TemplateConfig) -> str | RangeSource | None:
    """The file or range that the input names; None for a template with rows of its own. Pure. Raises `BadInput`."""
    if template.steps[0].rows is not None:
        if job.source is not None or job.tasks is not None:
            raise BadInput(
                "This template takes its rows from its own inputs.", remedy="Leave out `source` and `tasks`."
            )
        return None
    if job.source is not None and job.tasks is not None:
        raise BadInput("The input names both `source` and `tasks`.", remedy="Leave one out.")
    source = job.source
    if job.tasks is not None:
        source = RangeSource(range=job.tasks, bytes=job.bytes)
    if source is None:
        raise BadInput("The input names no source.", remedy='Hand in {"source": "<file below a data root>"}.')
    if isinstance(source, RangeSource) and job.columns:
        raise BadInput("A generated range has no columns.", remedy="Leave out `columns`.")
    return source


def plan_steps(
    job: JobInput, template: TemplateConfig, values: Mapping[str, Any] | None = None
) -> tuple[StepPlan, ...]:
    """The steps of the job, numbered. Raises `BadInput` for steps that do not fit together."""
    names = step_names(template)
    unknown = sorted(set(job.parameters) - set(names))
    if unknown:
        raise BadInput(
            f"`parameters` names the step {unknown[0][:80]!r}, which this template does not have.",
            remedy=f"It has: {', '.join(names)}.",
        )
    return _unrolled(template, values, Overrides(parameters=job.parameters, parallel=job.parallel))


def _unrolled(
    template: TemplateConfig, values: Mapping[str, Any] | None = None, overrides: Overrides | None = None
) -> tuple[StepPlan, ...]:
    try:
        return unroll(template, values, overrides)
    except TemplateInvalid as error:
        # A class of the family, so that the caller of a workflow gets the same one.
        raise BadInput(f"{error.message.rstrip('.')}.", remedy=error.remedy) from None


def check_size(request: OpenJob, template: Id, steps: Sequence[StepPlan], source: SourcePin | None) -> None:
    """Raise `BadInput` for a plan too large or too odd to travel through a history, before anything is written."""
    plan = JobPlan(
        job=2**63,
        key=request.key,
        workflow_id=request.workflow_id,
        template=template,
        steps=tuple(steps),
        source=source,
    )
    try:
        size = len(plan.model_dump_json().encode())
    except ValueError as error:  # half a surrogate pair in a text, which JSON can name and UTF-8 cannot hold
        raise BadInput(f"The steps of the job are no JSON: {str(error)[:200]}.", remedy="Look at its inputs.") from None
    if size > MAX_INPUT:
        raise BadInput(
            f"The plan of the job has {size:,} bytes; at most {MAX_INPUT:,} are allowed.",
            remedy="Give fewer or shorter parameters and rows; long lists belong into a file below a data root.",
        )


def check_depth(request: OpenJob) -> None:
    """Raise `BadInput` for a job too far below the one a user started."""
    if request.parent is not None and request.parent.depth > MAX_DEPTH:
        raise BadInput(f"Jobs call jobs at most {MAX_DEPTH} deep.", remedy="Look for templates that call one another.")


def check_calls(name: Id, templates: Mapping[Id, TemplateConfig], steps: Sequence[StepPlan] | None = None) -> None:
    """Raise `BadInput` if a template calls one that does not exist, with input it refuses, or comes to call itself.

    `steps` are those of a job of the template, its inputs in place; without them no value of an input is known yet.
    """
    _follow(name, templates, (), steps, set())


def _follow(
    name: Id,
    templates: Mapping[Id, TemplateConfig],
    above: tuple[Id, ...],
    steps: Sequence[StepPlan] | None,
    seen: set[tuple[Id, int]],
) -> None:
    if name in above:
        raise BadInput(f"The templates {' -> '.join((*above, name))} call one another in a circle.")
    template = templates.get(name)
    if template is None:
        why = NO_CALL if name == MONITOR else "it does not exist"
        raise BadInput(f"The template {above[-1]!r} calls {name!r}: {why}." if above else f"No {name!r}.")
    if len(above) > MAX_DEPTH:
        raise BadInput(f"The templates {' -> '.join(above)} call one another more than {MAX_DEPTH} deep.")
    if (name, len(above)) in seen:
        return  # or templates that call one another many times would be followed for ever
    seen.add((name, len(above)))
    for step in _unrolled(template) if steps is None else steps:
        if step.call is not None:
            _follow(step.call.template, templates, (*above, name), None, seen)
            _check_call(step, step.call, templates[step.call.template], settled=steps is not None)


def _check_call(step: StepPlan, call: CallPlan, called: TemplateConfig, *, settled: bool) -> None:
    if RETRY in call.input or RETRY in step.reads:
        return  # works on the input of the job it goes on with
    try:
        check_given(call.input, step.reads, called, settled=settled)
    except BadInput as error:
        raise BadInput(f"Step {step.name!r} calls {call.template!r}: {error.message}", remedy=error.remedy) from None


def check_agents(
    steps: Sequence[StepPlan],
    counts: Mapping[AgentType, Mapping[int, int]],
    configured: Collection[AgentType] | None = None,
) -> None:
    """Refuse a job that would wait for agents nobody deployed. `counts`: type -> shard -> agents.

    A type that is not even among the `configured` ones is told so. Raises `BadInput`.
    """
    for step in steps:
        for agent_type, _ in doers_of(step):
            if sum(counts.get(agent_type, {}).values()):
                continue
            if configured is not None:
                check_types([step], configured)
            raise BadInput(
                f"Step {step.name!r} needs agents of type {agent_type!r}, and none is deployed.",
                remedy=f"Run: .venv/bin/python deploy_agents.py --type {agent_type}=20.",
            )


def check_types(steps: Sequence[StepPlan], configured: Collection[AgentType]) -> None:
    """Raise `BadInput` for a step whose agents are of a type that is not configured."""
    for step in steps:
        for agent_type, _ in doers_of(step):
            if agent_type not in configured:
                raise BadInput(
                    f"Step {step.name!r} needs agents of type {agent_type!r}, which is not configured.",
                    remedy=f"Types: {', '.join(configured)}.",
                )


def check_actions(steps: Sequence[StepPlan], known: Mapping[AgentType, frozenset[str]]) -> None:
    """Refuse a job whose agents would not know what to do; types that are not in `known` are not judged.

    Raises `BadInput`.
    """
    for step in steps:
        for agent_type, action in doers_of(step):
            actions = known.get(agent_type)
            if actions is not None and action not in actions:
                raise BadInput(
                    f"Step {step.name!r} wants {action!r} of agents of type {agent_type!r}, who do not know it.",
                    remedy=f"They know: {', '.join(sorted(actions))}.",
                )


def doers_of(step: StepPlan) -> list[tuple[AgentType, str]]:
    """The agent types a step asks, each with its action: the one that does its tasks, and who speaks in a group."""
    if step.agent_type is None or step.action is None:
        return []
    found: list[tuple[AgentType, str]] = [(step.agent_type, step.action)]
    if step.action == DISCUSS[1]:
        members: Any = step.parameters.get("members")
        speakers = [*cast("list[Any]", members)] if isinstance(members, list) else []
        for each in [*speakers, step.parameters.get("decides")]:
            if isinstance(each, dict):
                speaker = cast("dict[str, Any]", each)
                agent, action = speaker.get("agent"), speaker.get("action")
                if isinstance(agent, str) and isinstance(action, str):  # else the discussion itself is refused
                    found.append((AgentType(agent), action))
    return found
