"""The schema of workflow templates: what a pipeline is made of, as data. `colony.config.unroll` makes the plan."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from colony.config.section import Section
from colony.ids import AgentType, Id
from colony.jobs import Condition, Tier

END: Final = "end"
"""Where a branch goes to end the job well: no step may have this name."""

MOST_TURNS: Final = 50

RESERVED: Final = frozenset(
    {"source", "tasks", "bytes", "columns", "parameters", "parallel", "priority", "tenant", "llm_tokens"}
)
"""What every job may be given: no input of a template may have such a name."""


class TemplateKind(StrEnum):
    """What a step of a template is: the kinds of a plan, and four that are made of them."""

    LOAD = "load"
    MAP = "map"
    REDUCE = "reduce"
    REPORT = "report"
    WAIT = "wait"
    APPROVE = "approve"
    BRANCH = "branch"
    CALL = "call"
    CHAIN = "chain"
    """`steps`, all maps: each takes the outcomes of the one before, the first those of `over`."""
    LOOP = "loop"
    """`steps` again and again until `until` holds, at most `most` times."""
    GROUP = "group"
    """For each outcome of `over`, agents discuss it in turns, then one decides."""


class InputReference(Section):
    """Stands for the value of an input."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    input: Id = Field(alias="$input")


class Reference(Section):
    """Names a value that an earlier step left."""

    step: Id
    field: str = Field(default="", max_length=200)
    """Dotted path into the one result of a map or reduce, into a decision or into the end of a called job."""
    count: Literal["", "tasks", "ok", "failed"] = ""
    """A count of the step instead."""


class CaseConfig(Section):
    """One case of a branch."""

    when: Condition
    go: Id
    """Name of a later step, or `end`."""


class UntilConfig(Section):
    """When a loop ends."""

    on: Reference
    when: Condition


def _until_tag(value: Any) -> str:
    if isinstance(value, str):
        return "moment"
    if isinstance(value, InputReference) or (isinstance(value, Mapping) and ("$input" in value or "input" in value)):
        return "input"
    return "condition"


Until = Annotated[
    Annotated[UntilConfig, Tag("condition")] | Annotated[InputReference, Tag("input")] | Annotated[str, Tag("moment")],
    Discriminator(_until_tag),
]
"""A condition, or a moment as text or input."""


class Doer(Section):
    """An agent type and what it does."""

    agent: AgentType
    action: Id


class HandOffConfig(Section):
    """Results of the form `{"hand_off": {"agent", "action", "payload"}}` become tasks of that agent type."""

    most: int = Field(default=1, ge=1, le=10)
    """Times one piece of work may be handed on."""
    to: tuple[Doer, ...] = Field(min_length=1, max_length=10)
    """To whom it may go."""


class InputConfig(Section):
    """One typed input of a template."""

    type: Literal["string", "integer", "number", "boolean", "path", "list", "object"] = "string"
    required: bool = False
    default: Any = None
    description: str = ""
    choices: tuple[Any, ...] = ()
    """The values it may have; empty for any."""
    minimum: float | None = None
    """Least value of a number, least length of a text or list."""
    maximum: float | None = None
    """Largest value of a number, largest length of a text or list."""


class StepConfig(Section):
    """One step of a workflow template."""

    name: Id
    kind: TemplateKind = TemplateKind.MAP
    over: Id | tuple[Id, ...] | None = None
    """Name of the step it takes its input from, or of several."""
    agent: AgentType | None = None
    """Type of the agents that run it (map, reduce)."""
    action: Id | None = None
    """What they do."""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Handed to the agent with each task of the step. `{$input: NAME}` stands for an input anywhere in it;
    `{$step: NAME, field: PATH}` as a whole parameter for a value an earlier step left."""
    group: int = Field(default=500, ge=1, le=100_000)
    """For reduce: outcomes a task takes."""
    attempts: int = Field(default=3, ge=1, le=20)
    """Attempts a task may see while its errors may pass."""
    task_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Time limit of one task."""
    error_budget: float = Field(default=0.1, ge=0, le=1)
    """Share of tasks that may fail before the job fails."""
    parallel: int = Field(default=4, ge=1, le=256)
    """Batches under way at once."""
    batch: int | None = Field(default=None, ge=1, le=1_000)
    """Most tasks of a batch; left out for as many as five seconds of work."""
    priority: int | None = Field(default=None, ge=1, le=5)
    """1 (first) to 5 (last); left out for the priority of the job."""
    tier: Tier = ""
    """Model tier of its agents unless a call names one; left out for that of their type."""
    hand_off: HandOffConfig | None = None
    """For map: to whom agents may hand work on."""
    rows: Any = None
    """For load: a list of rows, or `{$input: NAME}`; left out for the `source` of the job."""
    seconds: float | InputReference | None = None
    """For wait: how long."""
    until: Until | None = None
    """For wait: a moment (ISO 8601, UTC unless it says otherwise). For loop: when it ends."""
    prompt: str = Field(default="", max_length=2_000)
    """For approve: what the person decides about."""
    timeout: float = Field(default=86_400.0, gt=0, le=31_536_000)
    """For approve: seconds after which `default` is taken."""
    default: Literal["approve", "reject"] = "reject"
    """For approve: what is decided when nobody does."""
    on_reject: Id | None = None
    """For approve: the later step to go on at after a rejection; `skip` skips all that follows.
    Left out, a rejection fails the job."""
    show: Reference | None = None
    """For approve: a value for the person to look at."""
    on: Reference | None = None
    """For branch: the value it looks at."""
    cases: tuple[CaseConfig, ...] = Field(default=(), max_length=20)
    """For branch: the first that fits is taken."""
    otherwise: Id | None = None
    """For branch: where to go on when none fits; left out for the next step."""
    steps: tuple[StepConfig, ...] = Field(default=(), max_length=50)
    """For chain and loop: the steps it is made of."""
    most: int | None = Field(default=None, ge=1, le=20)
    """For loop: how often at most."""
    carry: dict[Id, Id] = Field(default_factory=dict[Id, Id], max_length=20)
    """For loop: step outside -> step inside whose outcomes stand for it from the second time on."""
    template: Id | None = None
    """For call: the template to run as a job of its own."""
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    """For call: its input; references as in `parameters`."""
    on_failure: Literal["fail", "go_on"] = "fail"
    """For call: what follows when that job fails."""
    members: tuple[Doer, ...] = Field(default=(), max_length=10)
    """For group: who discusses, in this order."""
    turns: int = Field(default=4, ge=1, le=MOST_TURNS)
    """For group: contributions in all."""
    decides: Doer | None = None
    """For group: who decides in the end; left out for the last one who spoke."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        known = _ALWAYS | _FIELDS[self.kind]
        foreign = sorted(name for name in self.model_fields_set - known if getattr(self, name) != _default(name))
        if foreign:
            raise ValueError(f"step {self.name!r} of kind {self.kind} has no {foreign[0]!r}")
        missing = [name for name in _NEEDED[self.kind] if getattr(self, name) in (None, ())]
        if missing:
            raise ValueError(f"step {self.name!r} needs {_spoken(_NEEDED[self.kind])}")
        if self.kind is TemplateKind.WAIT and (self.seconds is None) == (self.until is None):
            raise ValueError(f"step {self.name!r} needs either seconds or until")
        if self.kind is TemplateKind.WAIT and isinstance(self.until, UntilConfig):
            raise ValueError(f"step {self.name!r} waits until a moment, not for a condition")
        if self.kind is TemplateKind.LOOP and not isinstance(self.until, UntilConfig):
            raise ValueError(f"step {self.name!r} needs until: {{on: ..., when: ...}}")
        return self

    def sources(self) -> tuple[Id, ...]:
        """The names in `over`."""
        if self.over is None:
            return ()
        return self.over if isinstance(self.over, tuple) else (self.over,)


class TemplateConfig(Section):
    """A workflow that can be started by name."""

    description: str = ""
    inputs: dict[Id, InputConfig] = Field(default_factory=dict[Id, InputConfig], max_length=50)
    """What a job may be given beside its source."""
    columns: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    """Payload field -> names of the source column it may come from, first match wins."""
    optional: tuple[str, ...] = ()
    """Payload fields that a source may lack."""
    steps: tuple[StepConfig, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        taken = sorted(RESERVED & self.inputs.keys())
        if taken:
            raise ValueError(f"an input cannot be called {taken[0]!r}: every job has that")
        return self


def _default(name: str) -> Any:
    return StepConfig.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _spoken(names: tuple[str, ...]) -> str:
    said = {"agent": "an agent", "action": "an action"}
    return " and ".join(said.get(name, name) for name in names)


_WORK: Final = frozenset({"attempts", "task_seconds", "error_budget", "parallel", "batch", "priority", "tier"})
_AGENTS: Final = frozenset({"over", "agent", "action", "parameters"}) | _WORK
_ALWAYS: Final = frozenset({"name", "kind"})
_FIELDS: Final[Mapping[TemplateKind, frozenset[str]]] = {
    TemplateKind.LOAD: frozenset({"rows", "parameters"}),
    TemplateKind.MAP: _AGENTS | {"hand_off"},
    TemplateKind.REDUCE: _AGENTS | {"group"},
    TemplateKind.REPORT: frozenset({"over", "parameters"}),
    TemplateKind.WAIT: frozenset({"seconds", "until"}),
    TemplateKind.APPROVE: frozenset({"prompt", "timeout", "default", "on_reject", "show"}),
    TemplateKind.BRANCH: frozenset({"on", "cases", "otherwise"}),
    TemplateKind.CALL: frozenset({"template", "input", "on_failure", "priority"}),
    TemplateKind.CHAIN: frozenset({"over", "steps"}),
    TemplateKind.LOOP: frozenset({"steps", "until", "most", "carry"}),
    TemplateKind.GROUP: frozenset({"over", "agent", "members", "turns", "decides", "parameters"}) | _WORK,
}
"""The fields a kind may have; what another kind has is refused, so that no setting is without effect."""

_NEEDED: Final[Mapping[TemplateKind, tuple[str, ...]]] = {
    **dict.fromkeys(TemplateKind, ()),
    TemplateKind.MAP: ("agent", "action"),
    TemplateKind.REDUCE: ("agent", "action"),
    TemplateKind.APPROVE: ("prompt",),
    TemplateKind.BRANCH: ("on", "cases"),
    TemplateKind.CALL: ("template",),
    TemplateKind.CHAIN: ("steps",),
    TemplateKind.LOOP: ("steps", "until", "most"),
    TemplateKind.GROUP: ("members",),
}
