"""A called job hears of a priority that changed while it was being started."""

from __future__ import annotations

from typing import Any

import pytest

from colony.contracts import JobState
from colony.ids import Id
from colony.jobs import CallPlan, JobPlan, StepKind, StepPlan
from workflows import control_steps
from workflows.contracts import JobResult
from workflows.control_steps import ControlSteps
from workflows.steering import Steering

CALLS = StepPlan(number=0, name=Id("calls"), kind=StepKind.CALL, call=CallPlan(template=Id("other")))
PLAN = JobPlan(job=1, key="k" * 32, workflow_id="w", template=Id("t"), steps=(CALLS,), priority=3)


class Started:
    """A job that ends as soon as it is waited for."""

    id = "w.calls"

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Any]]] = []

    def done(self) -> bool:
        return bool(self.heard)

    async def signal(self, name: str, args: list[Any]) -> None:
        self.heard.append((name, args))

    def __await__(self) -> Any:
        return self._end().__await__()

    async def _end(self) -> JobResult:
        return JobResult(job=2, key="c", workflow_id=self.id, template="other", state=JobState.DONE, steps=())


def show(phase: str, step: StepPlan, waiting_for: str, until: float | None = None) -> None:
    """Nobody looks."""


async def heard(monkeypatch: pytest.MonkeyPatch, *, changes: bool, new: bool) -> tuple[list[Any], list[str]]:
    """What the called job hears, and which patches were asked for."""
    steering, started, asked = Steering(), Started(), list[str]()
    steering.begin(PLAN, None)

    async def start(*_: Any, **__: Any) -> Started:
        if changes:
            steering.set_priority(1)
        return started

    async def wait(_: Any) -> None:
        started.heard.append(("over", []))

    def patched(name: str) -> bool:
        asked.append(name)
        return new

    monkeypatch.setattr(control_steps.workflow, "start_child_workflow", start)
    monkeypatch.setattr(control_steps.workflow, "wait_condition", wait)
    monkeypatch.setattr(control_steps.workflow, "patched", patched)
    await ControlSteps(PLAN, steering, lambda: (), 0, show).run(CALLS)
    return [each for each in started.heard if each[0] != "over"], asked


async def test_a_change_during_the_start_reaches_the_called_job(monkeypatch: pytest.MonkeyPatch) -> None:
    told, asked = await heard(monkeypatch, changes=True, new=True)
    assert told == [("set_priority", [1])]
    assert len(asked) == 1


async def test_a_history_of_an_earlier_build_replays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await heard(monkeypatch, changes=True, new=False))[0] == []


async def test_nothing_is_marked_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await heard(monkeypatch, changes=False, new=True) == ([], [])
