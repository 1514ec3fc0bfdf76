"""From a template to the steps of a plan: sugar is spelled out, loops are unrolled, names become numbers. Pure.

Every reference is checked here, before a job has a row: to inputs, to earlier steps, to steps a branch goes to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from colony.config.templates import END, StepConfig, TemplateConfig, TemplateKind, UntilConfig
from colony.config.unroll_parts import (
    Emitted,
    Overrides,
    Scope,
    approval_of,
    call_of,
    discussion_of,
    rows_of,
    wait_of,
    work_of,
)
from colony.errors import BadInput
from colony.ids import Id
from colony.jobs import (
    MAX_STEPS,
    BranchPlan,
    CasePlan,
    Condition,
    PlannedCondition,
    StepKind,
    StepPlan,
    StepSource,
)

SKIP: Final = "skip"


class TemplateInvalid(BadInput):
    """A template that makes no plan. `where` is the way to the step, as keys and positions below the template."""

    def __init__(self, message: str, *, where: tuple[str | int, ...] = (), remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.where = where


def unroll(
    template: TemplateConfig,
    inputs: Mapping[str, Any] | None = None,
    overrides: Overrides | None = None,
) -> tuple[StepPlan, ...]:
    """The steps of a job of this template.

    `inputs` are the values of its inputs; None only checks. Raises `TemplateInvalid` for the first thing wrong.
    """
    return _Unroller(template, inputs, overrides or Overrides()).run()


def step_names(template: TemplateConfig) -> list[Id]:
    """The names of all steps as written, those inside others too."""
    return [step.name for step, _ in _written(template.steps, ("steps",))]


def _written(
    steps: tuple[StepConfig, ...], where: tuple[str | int, ...]
) -> Iterator[tuple[StepConfig, tuple[str | int, ...]]]:
    for at, step in enumerate(steps):
        yield step, (*where, at)
        yield from _written(step.steps, (*where, at, "steps"))


class _Unroller:
    """Emits steps in order; what is named must be known by then, what is jumped to is looked up at the end."""

    def __init__(self, template: TemplateConfig, inputs: Mapping[str, Any] | None, overrides: Overrides) -> None:
        self._template = template
        declared = {str(name): each for name, each in template.inputs.items()}
        self._scope = Scope(inputs or {}, declared, settled=inputs is not None)
        self._overrides = overrides
        self._emitted: list[Emitted] = []
        self._where: tuple[str | int, ...] = ()
        self._suffix = ""
        self._entered: list[str] = []
        """Loops and chains that begin with the next step emitted."""

    def run(self) -> tuple[StepPlan, ...]:
        try:
            self._check_names()
            self._each(self._template.steps, ("steps",))
            return tuple(self._resolved(emitted) for emitted in self._emitted)
        except TemplateInvalid:
            raise
        except BadInput as error:
            raise TemplateInvalid(error.message, where=self._where, remedy=error.remedy) from None

    def _check_names(self) -> None:
        seen: set[str] = set()
        for step, where in _written(self._template.steps, ("steps",)):
            self._where = where
            if step.name in seen:
                raise BadInput(f"two steps are called {step.name!r}")
            if step.name in (END, SKIP):
                raise BadInput(f"no step can be called {step.name!r}: it means something else")
            if (step.kind is TemplateKind.LOAD) != (where == ("steps", 0)):
                raise BadInput("a template starts with its one `load` step")
            seen.add(step.name)

    def _each(self, steps: tuple[StepConfig, ...], where: tuple[str | int, ...]) -> None:
        for at, step in enumerate(steps):
            self._where = (*where, at)
            match step.kind:
                case TemplateKind.CHAIN:
                    self._chain(step)
                case TemplateKind.LOOP:
                    self._loop(step)
                case _:
                    self._one(step)

    def _chain(self, chain: StepConfig) -> None:
        where = self._where
        self._entered.append(chain.name)
        over: Any = chain.over
        for at, link in enumerate(chain.steps):
            self._where = (*where, "steps", at)
            if link.kind is not TemplateKind.MAP or link.over is not None:
                raise BadInput(f"step {link.name!r} is in a chain, so it is a map without `over`")
            self._one(link.model_copy(update={"over": over}))
            over = link.name
        self._scope.known[chain.name] = self._scope.known[over]

    def _loop(self, loop: StepConfig) -> None:
        where, suffix = self._where, self._suffix
        most = loop.most or 1
        inside = {step.name for step, _ in _written(loop.steps, ())}
        for outer, inner in loop.carry.items():
            if inner not in inside:
                raise BadInput(f"carry names {inner!r}, which is no step inside {loop.name!r}")
            self._scope.need(outer, f"step {loop.name!r} carries")
        checks: list[Emitted] = []
        self._entered.append(loop.name)
        before: dict[str, tuple[StepSource, ...]] = {outer: self._scope.known[outer] for outer in loop.carry}
        for turn in range(1, most + 1):
            if turn > 1:
                self._where, self._suffix = where, suffix
                checks.append(self._check(loop, turn))
                for outer, inner in loop.carry.items():
                    self._scope.known[outer] = self._scope.need(inner, f"step {loop.name!r} carries")
            self._suffix = _turned(suffix, turn)
            self._each(loop.steps, (*where, "steps"))
        self._scope.known.update(before)
        self._suffix, self._where = suffix, where
        for check in checks:
            check.leaves_to = len(self._emitted)

    def _check(self, loop: StepConfig, turn: int) -> Emitted:
        """The branch before another turn: out of the loop when its condition holds."""
        return self._emit(loop, StepKind.BRANCH, name=f"{loop.name}{_turned(self._suffix, turn - 1)}")

    def _one(self, step: StepConfig) -> None:
        if step.kind is TemplateKind.GROUP:
            step = discussion_of(step)
        emitted = self._emit(step, StepKind(step.kind.value))
        number = emitted.plan.number
        if step.hand_off is None:
            self._scope.add(step.name, (StepSource(steps=(number,)),))
        else:
            self._rounds(step, number)

    def _rounds(self, step: StepConfig, number: int) -> None:
        """The follow-on maps of a step that may hand off: each takes what the round before handed to its agents."""
        hand_off = step.hand_off
        if hand_off is None:
            return
        kept = " ".join(("not", *(f"{doer.agent}/{doer.action}" for doer in hand_off.to)))
        ended = [StepSource(steps=(number,), only=kept)]
        last = [number]
        for turn in range(1, hand_off.most + 1):
            fresh: list[int] = []
            for doer in hand_off.to:
                only = f"to {doer.agent}/{doer.action}"
                update = {"agent": doer.agent, "action": doer.action, "hand_off": None, "over": None}
                sources = tuple(StepSource(steps=(each,), only=only) for each in last)
                name = f"{step.name}-{doer.action}-{turn}{self._suffix}"
                follow = self._emit(step.model_copy(update=update), StepKind.MAP, name=name, sources=sources)
                fresh.append(follow.plan.number)
            ended += [StepSource(steps=(each,), only="" if turn == hand_off.most else kept) for each in fresh]
            last = fresh
        self._scope.add(step.name, tuple(ended))

    def _emit(
        self,
        step: StepConfig,
        kind: StepKind,
        *,
        name: str = "",
        sources: tuple[StepSource, ...] | None = None,
    ) -> Emitted:
        number = len(self._emitted)
        if number >= MAX_STEPS:
            raise BadInput(f"the plan has more than {MAX_STEPS} steps, loops unrolled")
        full = Id(name or f"{step.name}{self._suffix}")
        if any(each.plan.name == full for each in self._emitted):
            raise BadInput(f"two steps are called {full!r}, loops unrolled")
        found = self._sources(step, kind) if sources is None else sources
        update: dict[str, Any] = {"number": number, "name": full, "kind": kind}
        if found:
            simple = len(found) == 1 and len(found[0].steps) == 1 and not found[0].only
            update |= {"over": found[0].steps[0], "sources": () if simple else found}
        update |= self._of_kind(step, kind, number)
        until = step.until if kind is StepKind.BRANCH and isinstance(step.until, UntilConfig) else None
        begins: frozenset[str] = frozenset((step.name, *self._entered) if sources is None else ())
        self._entered.clear()
        emitted = Emitted(step, StepPlan.model_validate(update), self._where, begins, until)
        self._emitted.append(emitted)
        self._scope.kinds[number] = kind
        return emitted

    def _of_kind(self, step: StepConfig, kind: StepKind, number: int) -> dict[str, Any]:
        what = f"step {step.name!r}"
        match kind:
            case StepKind.MAP | StepKind.REDUCE:
                return work_of(step, self._scope, self._overrides, what)
            case StepKind.WAIT:
                return {"wait": wait_of(step, self._scope, what)}
            case StepKind.APPROVE:
                return {"approval": approval_of(step, self._scope, what)}
            case StepKind.CALL:
                return call_of(step, self._scope, what)
            case StepKind.LOAD:
                return {"parameters": rows_of(step, self._template, self._scope)}
            case StepKind.REPORT:
                return {"parameters": self._scope.filled(step.parameters, what)}
            case StepKind.BRANCH:
                on = step.until.on if isinstance(step.until, UntilConfig) else step.on
                if on is None:
                    raise BadInput(f"{what} needs on")
                return {"branch": BranchPlan(on=self._scope.value(on, what), cases=(), otherwise=number + 1)}

    def _sources(self, step: StepConfig, kind: StepKind) -> tuple[StepSource, ...]:
        if kind not in (StepKind.MAP, StepKind.REDUCE, StepKind.REPORT):
            return ()
        if step.over is None:
            raise BadInput(f"step {step.name!r} is over None, which is no earlier step")
        found = tuple(
            source for name in step.sources() for source in self._scope.need(name, f"step {step.name!r} is over")
        )
        kinds = {self._scope.kinds[number] for source in found for number in source.steps}
        if not kinds <= {StepKind.LOAD, StepKind.MAP, StepKind.REDUCE}:
            raise BadInput(f"step {step.name!r} is over a {min(kinds - _GIVING)} step, which has no outcomes")
        if StepKind.LOAD in kinds and (kind is not StepKind.MAP or len(found) > 1):
            raise BadInput(f"step {step.name!r} is over the load step, so it must be a map over it alone")
        if kind is not StepKind.MAP and any(source.only for source in found):
            raise BadInput(f"step {step.name!r} is over a step that hands off, so it must be a map")
        if kind is StepKind.REPORT and len(found) > 1:
            raise BadInput(f"step {step.name!r} is a report, so it is over one step")
        return found

    def _resolved(self, emitted: Emitted) -> StepPlan:
        """The step with the numbers of where it may go on."""
        plan, step = emitted.plan, emitted.step
        self._where = emitted.where
        if plan.branch is not None:
            if emitted.until is not None:
                cases = (CasePlan(when=_planned(emitted.until.when), go=emitted.leaves_to),)
            else:
                cases = tuple(CasePlan(when=_planned(case.when), go=self._target(plan, case.go)) for case in step.cases)
            otherwise = plan.number + 1 if step.otherwise is None else self._target(plan, step.otherwise)
            branch = plan.branch.model_copy(update={"cases": cases, "otherwise": otherwise})
            return plan.model_copy(update={"branch": branch})
        if plan.approval is not None and step.on_reject is not None:
            go = len(self._emitted) if step.on_reject == SKIP else self._target(plan, step.on_reject)
            return plan.model_copy(update={"approval": plan.approval.model_copy(update={"on_reject": go})})
        return plan

    def _target(self, plan: StepPlan, name: Id) -> int:
        if name == END:
            return len(self._emitted)
        for later in self._emitted[plan.number + 1 :]:
            if name in later.begins:
                return later.plan.number
        raise BadInput(f"step {plan.name!r} goes to {name!r}, which is no later step", remedy="Only forwards.")


def _planned(condition: Condition) -> PlannedCondition:
    return PlannedCondition.model_validate(condition.model_dump(exclude_unset=True))


_GIVING: Final = frozenset({StepKind.LOAD, StepKind.MAP, StepKind.REDUCE})


def _turned(suffix: str, turn: int) -> str:
    """What the names of a turn end with: nothing for the first of an outermost loop."""
    return "" if turn == 1 and not suffix else f"{suffix}-{turn}"
