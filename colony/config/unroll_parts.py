"""What each kind of step becomes in a plan, and what its references may name. Pure; raises `BadInput`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from colony.config.references import step_reference, with_inputs
from colony.config.templates import InputReference, Reference, StepConfig, TemplateConfig, TemplateKind, UntilConfig
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import ApprovalPlan, CallPlan, StepKind, StepPlan, StepSource, ValueRef, WaitPlan

LONGEST_WAIT: Final = 366 * 86_400.0
"""Most seconds a step may wait."""

DISCUSS: Final = (AgentType("coordination"), Id("discuss"))
"""Who leads a discussion, and by which action."""

TURN_SECONDS: Final = 10.0
"""Time for one contribution to a discussion, unless its parameter `turn_seconds` says otherwise."""

_SPARE_SECONDS: Final = 10.0
"""What a discussion is given beyond its turns."""

_LARGE: Final = 1e9

_LONGEST_TASK: Final = 3_600.0
"""Most seconds of a task that a step may ask for."""

_VALUED: Final = frozenset({StepKind.MAP, StepKind.REDUCE, StepKind.APPROVE, StepKind.CALL})


@dataclass(frozen=True)
class Overrides:
    """What a job says in place of its template."""

    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Name of a step -> parameters that replace those of the template."""
    parallel: int | None = None


@dataclass
class Emitted:
    """A step of the plan whose ways on are not looked up yet."""

    step: StepConfig
    plan: StepPlan
    where: tuple[str | int, ...]
    begins: frozenset[str]
    """The names that lead here: its own, and that of a loop or chain that begins with it."""
    until: UntilConfig | None = None
    """For the check between two turns of a loop."""
    leaves_to: int = 0
    """For that check: the step after the loop."""


class Scope:
    """What may be named at this point of a template."""

    def __init__(self, inputs: Mapping[str, Any], declared: Mapping[str, Any], *, settled: bool) -> None:
        self.inputs = inputs
        self.declared = declared
        self.settled = settled
        """Whether the values of the inputs are those of a job; else the template is only looked at."""
        self.known: dict[str, tuple[StepSource, ...]] = {}
        """Name of a step -> where its outcomes are, latest copy first."""
        self.kinds: dict[int, StepKind] = {}

    def add(self, name: str, sources: tuple[StepSource, ...]) -> None:
        """A step has been emitted; its earlier copies remain as what counts if it is skipped."""
        before = self.known.get(name, ())
        if len(before) == len(sources):
            sources = tuple(
                new.model_copy(update={"steps": (*new.steps, *old.steps)})
                for new, old in zip(sources, before, strict=True)
            )
        self.known[name] = sources

    def need(self, name: str, what: str) -> tuple[StepSource, ...]:
        """The outcomes of an earlier step."""
        found = self.known.get(name)
        if found is None:
            raise BadInput(f"{what} {name!r}, which is no earlier step")
        return found

    def value(self, reference: Reference, what: str) -> ValueRef:
        """A value of an earlier step."""
        sources = self.need(reference.step, f"{what} reads")
        if len(sources) != 1:
            raise BadInput(f"{what} reads {reference.step!r}, which hands off and has no one result")
        kind = self.kinds[sources[0].steps[0]]
        if not reference.count and kind not in _VALUED:
            raise BadInput(f"{what} reads {reference.step!r}, a {kind} step, which has no result")
        return ValueRef(steps=sources[0].steps, field=reference.field, count=reference.count)

    def filled(self, value: Any, where: str) -> Any:
        """`value` with its inputs in place."""
        return with_inputs(value, self.inputs, self.declared, where)

    def parted(self, fields: Mapping[str, Any], what: str) -> tuple[dict[str, Any], dict[str, ValueRef]]:
        """Fields that are known now, and those to be read from earlier steps."""
        known: dict[str, Any] = {}
        reads: dict[str, ValueRef] = {}
        for name, value in fields.items():
            reference = step_reference(value, f"{what}, parameter {name!r}")
            if reference is None:
                known[name] = self.filled(value, f"{what}, parameter {name!r}")
            else:
                reads[name] = self.value(reference, what)
        return known, reads


def work_of(step: StepConfig, scope: Scope, overrides: Overrides, what: str) -> dict[str, Any]:
    """The fields of a step that agents run."""
    parameters, reads = scope.parted(step.parameters, what)
    given = overrides.parameters.get(step.name, {})
    if step.tier:
        parameters.setdefault("tier", step.tier)
    return {
        "agent_type": step.agent,
        "action": step.action,
        "parameters": {**parameters, **given},
        "reads": {name: reference for name, reference in reads.items() if name not in given},
        "group": step.group,
        "attempts": step.attempts,
        "task_seconds": _task_seconds(step, {**parameters, **given}, what),
        "error_budget": step.error_budget,
        "parallel": overrides.parallel or step.parallel,
        "batch": step.batch,
        "priority": step.priority,
        "tier": step.tier,
    }


def discussion_of(group: StepConfig) -> StepConfig:
    """The map that a group is."""
    members = [member.model_dump(mode="json") for member in group.members]
    decides = None if group.decides is None else group.decides.model_dump(mode="json")
    settings = {"members": members, "turns": group.turns, "decides": decides}
    update = {
        "kind": TemplateKind.MAP,
        "agent": group.agent or DISCUSS[0],
        "action": DISCUSS[1],
        "parameters": {**group.parameters, **settings},
    }
    return group.model_copy(update=update)


def _task_seconds(step: StepConfig, parameters: Mapping[str, Any], what: str) -> float:
    """The time limit of a task. That of a discussion has room for all its turns, unless the step says another one."""
    turns: Any = parameters.get("turns")
    seconds: Any = parameters.get("turn_seconds", TURN_SECONDS)
    if step.action != DISCUSS[1] or not (_is_number(turns) and _is_number(seconds)):
        return step.task_seconds  # the discussion itself says what is wrong with them
    asked = seconds * (turns + (parameters.get("decides") is not None))
    if asked < step.task_seconds:
        return step.task_seconds
    wanted = float(asked + _SPARE_SECONDS)
    if step.task_seconds == StepConfig.model_fields["task_seconds"].default and wanted <= _LONGEST_TASK:
        return wanted
    raise BadInput(
        f"{what} may talk for {asked:g} s, and its task_seconds are {step.task_seconds:g}",
        remedy=f"Give task_seconds: {wanted:g} (at most {_LONGEST_TASK:g}), fewer turns or less turn_seconds.",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGE


def wait_of(step: StepConfig, scope: Scope, what: str) -> WaitPlan:
    """How long, or until when."""
    seconds, until = _given(step.seconds, scope, what), _given(step.until, scope, what)
    if step.seconds is not None:
        if seconds is None:
            return WaitPlan(seconds=_unknown(step.seconds, scope, what))
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_WAIT:
            raise BadInput(f"{what} waits 0 to {LONGEST_WAIT:.0f} seconds")
        return WaitPlan(seconds=float(seconds))
    return WaitPlan(until=_unknown(step.until, scope, what) if until is None else _moment(until, what))


def approval_of(step: StepConfig, scope: Scope, what: str) -> ApprovalPlan:
    """What a person is asked; where a rejection leads is looked up later."""
    show = None if step.show is None else scope.value(step.show, what)
    return ApprovalPlan(prompt=step.prompt, timeout=step.timeout, default=step.default, show=show)


def call_of(step: StepConfig, scope: Scope, what: str) -> dict[str, Any]:
    """The job to start."""
    if step.template is None:
        raise BadInput(f"{what} needs template")
    known, reads = scope.parted(step.input, what)
    call = CallPlan(template=step.template, input=known, on_failure=step.on_failure)
    return {"call": call, "reads": reads, "priority": step.priority}


def rows_of(step: StepConfig, template: TemplateConfig, scope: Scope) -> dict[str, Any]:
    """Frozen with the plan: the template may change while the job runs."""
    rows: object = step.rows
    if not (rows is None or isinstance(rows, list | tuple | dict)):
        raise BadInput(f"the rows of step {step.name!r} are a list, or {{$input: NAME}}")
    scope.filled(step.rows, f"step {step.name!r}, rows")
    return {**scope.filled(step.parameters, f"step {step.name!r}"), "optional": list(template.optional)}


def _given(value: Any, scope: Scope, what: str) -> Any:
    if isinstance(value, InputReference):
        return scope.filled({"$input": value.input}, what)
    return value


def _unknown(value: object, scope: Scope, what: str) -> float:
    """What stands for a time that only a job can tell; a job that does not is refused, it would not wait at all."""
    if scope.settled:
        name = value.input if isinstance(value, InputReference) else "none"
        raise BadInput(f"{what} waits for as long as the input {name!r} says, which is missing", remedy="Hand it in.")
    return 0.0


def _moment(text: object, what: str) -> float:
    try:
        moment = datetime.fromisoformat(str(text))
        seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadInput(f"{what} waits until a moment such as 2030-01-31T08:00:00Z") from None
    return seconds if math.isfinite(seconds) else 0.0
