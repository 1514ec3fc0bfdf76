"""From a user's input to the frozen plan of a job: pure decisions but for the look at the source file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from colony.config.templates import StepConfig, TemplateConfig
from colony.errors import BadInput, NotFound
from colony.ids import AgentType, Id
from colony.jobs import JobPlan, SourcePin, StepKind, StepPlan
from workflows.contracts import JobInput, OpenJob, RangeSource
from workflows.naming import about_file
from workflows.policies import MAX_INPUT
from workflows.sources import pin_file, pin_range, resolve_source


def template_named(name: str, templates: Mapping[Id, TemplateConfig]) -> tuple[Id, TemplateConfig]:
    """The template called `name`. Raises `NotFound` naming those that exist."""
    for known, template in templates.items():
        if known == name:
            return known, template
    raise NotFound(
        f"There is no workflow template called {name[:80]!r}.",
        remedy=f"There are: {', '.join(sorted(templates)) or 'none'}.",
    )


def parse_input(text: str) -> JobInput:
    """The input of a job. Raises `BadInput` naming the field that is wrong."""
    try:
        return JobInput.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"][:4]) or "the object"
        if first["type"] == "extra_forbidden":
            raise BadInput(
                f"The input has the unknown field {where!r}.",
                remedy=f"Known fields: {', '.join(JobInput.model_fields)}.",
            ) from None
        raise BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.") from None


def pin_source(job: JobInput, template: TemplateConfig, roots: Sequence[Path]) -> SourcePin:
    """What the job reads. Blocks on the file. Raises `BadInput`."""
    if job.source is not None and job.tasks is not None:
        raise BadInput("The input names both `source` and `tasks`.", remedy="Leave one out.")
    source = job.source
    if job.tasks is not None:
        source = RangeSource(range=job.tasks, bytes=job.bytes)
    if source is None:
        raise BadInput("The input names no source.", remedy='Hand in {"source": "<file below a data root>"}.')
    if isinstance(source, RangeSource):
        if job.columns:
            raise BadInput("A generated range has no columns.", remedy="Leave out `columns`.")
        return pin_range(source, template)
    path = resolve_source(source, roots)
    with about_file(path.name):
        return pin_file(path, template, job.columns)


def plan_steps(job: JobInput, template: TemplateConfig) -> tuple[StepPlan, ...]:
    """The steps of the job, numbered. Raises `BadInput` for steps that do not fit together."""
    numbers = {step.name: number for number, step in enumerate(template.steps)}
    unknown = sorted(set(job.parameters) - set(numbers))
    if unknown:
        raise BadInput(
            f"`parameters` names the step {unknown[0][:80]!r}, which this template does not have.",
            remedy=f"It has: {', '.join(numbers)}.",
        )
    kinds = [StepKind(step.kind.value) for step in template.steps]
    if kinds.count(StepKind.LOAD) != 1 or kinds[0] is not StepKind.LOAD:
        raise BadInput("A template starts with its one `load` step.", remedy="Correct it in agent_config.yaml.")
    return tuple(_plan_step(number, step, numbers, kinds, job, template) for number, step in enumerate(template.steps))


def check_size(request: OpenJob, template: Id, steps: Sequence[StepPlan], source: SourcePin | None) -> None:
    """Raise `BadInput` for a plan too large to travel through a history, before anything is written."""
    plan = JobPlan(
        job=2**63,
        key=request.key,
        workflow_id=request.workflow_id,
        template=template,
        steps=tuple(steps),
        source=source,
    )
    size = len(plan.model_dump_json().encode())
    if size > MAX_INPUT:
        raise BadInput(
            f"The plan of the job has {size:,} bytes; at most {MAX_INPUT:,} are allowed.",
            remedy="Give fewer or shorter parameters.",
        )


def _plan_step(
    number: int,
    step: StepConfig,
    numbers: Mapping[Id, int],
    kinds: Sequence[StepKind],
    job: JobInput,
    template: TemplateConfig,
) -> StepPlan:
    over = next((numbers[name] for name in step.sources()), None)
    if over is not None and kinds[over] is StepKind.LOAD and kinds[number] is not StepKind.MAP:
        raise BadInput(f"Step {step.name!r} is over the load step, so it must be a map.")
    if over is not None and kinds[over] is StepKind.REPORT:
        raise BadInput(f"Step {step.name!r} is over a report, which has no outcomes.")
    parameters: dict[str, Any] = {**step.parameters, **job.parameters.get(step.name, {})}
    if kinds[number] is StepKind.LOAD:
        # Frozen with the plan: the template may change while the job runs.
        parameters["optional"] = list(template.optional)
    return StepPlan(
        number=number,
        name=step.name,
        kind=kinds[number],
        over=over,
        agent_type=step.agent,
        action=step.action,
        parameters=parameters,
        group=step.group,
        attempts=step.attempts,
        task_seconds=step.task_seconds,
        error_budget=step.error_budget,
        parallel=job.parallel or step.parallel,
    )


def check_agents(steps: Sequence[StepPlan], counts: Mapping[AgentType, Mapping[int, int]]) -> None:
    """Refuse a job that would wait for agents nobody deployed. `counts`: type -> shard -> agents.

    Raises `BadInput`.
    """
    for step in steps:
        if step.agent_type is not None and not sum(counts.get(step.agent_type, {}).values()):
            raise BadInput(
                f"Step {step.name!r} needs agents of type {step.agent_type!r}, and none is deployed.",
                remedy=f"Run: .venv/bin/python deploy_agents.py --type {step.agent_type}=20.",
            )
