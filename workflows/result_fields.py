"""Do references name fields that results have? Told before a job begins, from what agent classes declare. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from colony.config.fields import nearest
from colony.config.templates import TemplateConfig
from colony.config.unroll import unroll
from colony.config.unroll_parts import DISCUSS
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.jobs import StepKind, StepPlan, ValueRef
from workflows.contracts import Decision

Fields = Mapping[str, Any]
"""Name of a field -> the fields below it; none below a plain value, None where anything may be."""

Results = Mapping[AgentType, Mapping[str, frozenset[str]]]
"""Agent type -> action -> fields of its result. What is not in it is not judged."""

_PLAIN: Final[Fields] = {}
_COUNTS: Final[Fields] = dict.fromkeys(("tasks", "ok", "failed"), _PLAIN)
_DECIDED: Final[Fields] = dict.fromkeys(Decision.model_fields, _PLAIN)
_CALLED: Final[Fields] = {**dict.fromkeys(("state", "job", "workflow_id", "reason"), _PLAIN), "artifacts": None}


def check_fields(steps: Sequence[StepPlan], results: Results, templates: Mapping[Id, TemplateConfig]) -> None:
    """Raise `BadInput` for a reference to a field that the result of its step never has."""
    for step in steps:
        for reference in _references(step):
            for number in reference.steps if reference.field and not reference.count else ():
                fields = _fields_of(steps[number], results, templates)
                _look(step, steps[number], reference.field, fields)


def _references(step: StepPlan) -> Iterator[ValueRef]:
    yield from step.reads.values()
    if step.branch is not None:
        yield step.branch.on
    if step.approval is not None and step.approval.show is not None:
        yield step.approval.show


def _look(step: StepPlan, read: StepPlan, path: str, fields: Fields | None) -> None:
    seen: list[str] = []
    for part in path.split("."):
        if fields is None:
            return
        if part not in fields:
            near = nearest(part, fields)
            has = f"It has: {', '.join(sorted(fields))}." if fields else "There is nothing below it."
            raise BadInput(
                f"Step {step.name!r} reads {path!r} of step {read.name!r},"
                f" and {'.'.join(seen) or 'its result'} has no field {part[:80]!r}.",
                remedy=f"Did you mean {near!r}? {has}" if near else has,
            )
        seen.append(part)
        fields = fields[part]


def _fields_of(step: StepPlan, results: Results, templates: Mapping[Id, TemplateConfig]) -> Fields | None:
    """What the one result of a step has; None where nobody says."""
    if step.kind is StepKind.APPROVE:
        return _DECIDED
    if step.call is not None:
        called = templates.get(step.call.template)
        names = None if called is None else {str(each.name): _COUNTS for each in unroll(called)}
        return {**_CALLED, "steps": names}
    fields = _declared(step.agent_type, step.action, results)
    if fields is not None and step.action == DISCUSS[1] and "decision" in fields:
        return {**fields, "decision": _decided(step, results)}
    return fields


def _declared(agent_type: Any, action: Any, results: Results) -> Fields | None:
    if not (isinstance(agent_type, str) and isinstance(action, str)):
        return None
    declared = results.get(cast("AgentType", agent_type), {}).get(action)
    return None if declared is None else dict.fromkeys(declared)


def _decided(step: StepPlan, results: Results) -> Fields | None:
    """What the decision of a discussion has: the result of who decides, or of whoever spoke last."""
    decides, members = step.parameters.get("decides"), step.parameters.get("members")
    speakers = cast("list[Any]", members if isinstance(members, list) else []) if decides is None else [decides]
    found: dict[str, Any] = {}
    for each in speakers:
        speaker = cast("dict[str, Any]", each) if isinstance(each, dict) else {}
        fields = _declared(speaker.get("agent"), speaker.get("action"), results)
        if fields is None:
            return None
        found.update(fields)
    return found or None
