"""What people tell a running job: pause, priority, cancel, yes or no. State and rules; no waiting, no commands."""

from __future__ import annotations

from typing import Any, Final

from colony.errors import BadInput, ColonyError, NotFound
from colony.jobs import NORMAL_PRIORITY, JobPlan, StepKind
from workflows.contracts import Answer, Decision, PendingApproval, SteeringState

PRIORITIES: Final = range(1, 6)


class Steering:
    """Holds what a job was told. `changes` grows with each word, so that others see that there is news."""

    def __init__(self) -> None:
        self.given = NORMAL_PRIORITY
        """The priority of a job that has no plan."""
        self.paused_since: float | None = None
        """Wall-clock seconds."""
        self.cancelled = False
        self.ending = False
        """Whether the job is being closed: then it takes no more orders."""
        self.changes = 0
        self.refused = ""
        self.pending: PendingApproval | None = None
        self.left: dict[int, dict[str, Any]] = {}
        """Number of an approve or call step -> its value."""
        self.reads: dict[str, Any] = {}
        """Parameters read for the step under way."""
        self._plan: JobPlan | None = None
        self._paused: bool | None = None
        """None until somebody said something about it."""
        self._priority: int | None = None
        self._decisions: list[Decision] = []

    @property
    def paused(self) -> bool:
        """Whether no more is handed out."""
        return bool(self._paused)

    @property
    def priority(self) -> int:
        """1 (first) to 5 (last)."""
        if self._priority is not None:
            return self._priority
        return self.given if self._plan is None else self._plan.priority

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The approvals that ended."""
        return tuple(self._decisions)

    def begin(self, plan: JobPlan, before: SteeringState | None) -> None:
        """The plan is known; `before` is what the run before was told."""
        self._plan = plan
        if before is not None:
            # What came in since this run began is newer.
            if self._paused is None:
                self._paused, self.paused_since = before.paused, before.paused_since
            self._priority = self._priority or before.priority
            self._decisions = list(before.decisions)
            self.left = dict(before.left)
            self.reads = dict(before.reads)

    def has_attribute(self, name: str) -> bool:
        """Whether the job sets that search attribute."""
        return self._plan is not None and name in self._plan.attributes

    def state(self) -> SteeringState:
        """What a next run must know."""
        return SteeringState(
            paused=self.paused,
            paused_since=self.paused_since,
            priority=self._priority,
            decisions=self.decisions,
            left=self.left,
            reads=self.reads,
        )

    def check_open(self) -> None:
        """Raise `NotFound` once the job ends."""
        if self.ending:
            raise NotFound("The job is ending.")

    def progress(self) -> dict[str, object]:
        """The part of `Progress` that people told."""
        return {
            "paused": self.paused,
            "paused_since": self.paused_since,
            "priority": self.priority,
            "refused": self.refused,
            "decisions": self.decisions,
            "approvals": () if self.pending is None else (self.pending,),
        }

    def pause(self, *, paused: bool, at: float | None = None) -> None:
        """Hand out no more, or go on; `at` in wall-clock seconds. A pause in a pause began with the first."""
        if not paused:
            self.paused_since = None
        elif not self.paused:
            self.paused_since = at
        self._paused = paused
        self.changes += 1

    def cancel(self) -> None:
        """End the job."""
        self.cancelled = True
        self.changes += 1

    def check_priority(self, priority: object) -> int:
        """The priority, if it is one. Raises `BadInput`."""
        self.check_open()
        if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
            raise BadInput(f"{str(priority)[:40]!r} is no priority.", remedy="Priorities are 1 (first) to 5 (last).")
        return priority

    def set_priority(self, priority: int) -> None:
        """The priority of all that is handed out from now on."""
        self._priority = priority
        self.changes += 1

    def check_answer(self, answer: Answer) -> PendingApproval:
        """The approval that is answered. Raises `NotFound` or `BadInput` for one that cannot be."""
        self.check_open()
        if answer.step and not (self.pending is not None and self.pending.step == answer.step):
            self._check_step(answer.step)
        if self.pending is None:
            raise BadInput("No approval waits now.", remedy="The query `progress` says what the job waits for.")
        if answer.step not in ("", self.pending.step):
            raise BadInput(f"The step {answer.step[:64]!r} does not wait now; {self.pending.step!r} does.")
        return self.pending

    def answer(self, answer: Answer, at: float) -> None:
        """Decide the approval that waits."""
        pending = self.check_answer(answer)
        self._decide(Decision(step=pending.step, approved=answer.approve, comment=answer.comment, by=answer.by, at=at))

    def time_out(self, at: float) -> None:
        """Nobody answered: take the default."""
        if self.pending is not None:
            approved = self.pending.default == "approve"
            self._decide(Decision(step=self.pending.step, approved=approved, at=at, timed_out=True))

    def decision(self, step: str) -> Decision | None:
        """How an approval ended; None while it did not."""
        return next((each for each in self._decisions if each.step == step), None)

    def refuse(self, error: ColonyError) -> None:
        """A signal was not obeyed: remember why, since nobody can be told."""
        self.refused = str(error)[:300]

    def _decide(self, decision: Decision) -> None:
        self._decisions.append(decision)
        self.pending = None
        self.changes += 1

    def _check_step(self, name: str) -> None:
        if self._plan is None:
            raise BadInput("The job is not open yet.")
        if not any(step.kind is StepKind.APPROVE and step.name == name for step in self._plan.steps):
            raise NotFound(f"There is no approve step {name[:64]!r} in this job.")
        if self.decision(name) is not None:
            raise BadInput(f"The step {name!r} is decided already.")
