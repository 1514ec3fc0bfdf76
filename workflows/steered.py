"""The signals and updates every job takes: what a workflow of ours inherits.

Updates are refused with a reason when they cannot be obeyed; signals cannot be, so that the query `progress` says why.
Arguments are decoded here and never by the SDK: a word that cannot be understood must not hang the job.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from colony.errors import ColonyError
    from workflows.attributes import PRIORITY
    from workflows.boundary import answer_of
    from workflows.steering import Steering


class Steered:
    """Base of workflows that can be paused, resumed, cancelled, given a priority, and approved or rejected."""

    def __init__(self) -> None:
        self.steering = Steering()
        self._main: asyncio.Task[Any] | None = None

    def begin_main(self) -> None:
        """Call first in `run`: a cancel by update or signal cancels the task that runs now."""
        self._main = asyncio.current_task()
        if self.steering.cancelled:
            self._stop_main()

    @property
    def stopping(self) -> bool:
        """Whether what runs was cancelled, by the server or by a word."""
        return self._main is not None and self._main.cancelling() > 0

    @workflow.signal(name="pause")
    def pause_by_signal(self, *_: Any) -> None:
        """Hand out no more; what is under way ends."""
        self._pause()

    @workflow.update(name="pause")
    def pause_by_update(self, *_: Any) -> None:
        """Hand out no more; what is under way ends."""
        self._pause()

    @pause_by_update.validator
    def _may_pause(self, *_: Any) -> None:
        self.steering.check_open()

    @workflow.signal(name="resume")
    def resume_by_signal(self, *_: Any) -> None:
        """Go on after a pause."""
        self.steering.pause(paused=False)

    @workflow.update(name="resume")
    def resume_by_update(self, *_: Any) -> None:
        """Go on after a pause."""
        self.steering.pause(paused=False)

    @resume_by_update.validator
    def _may_resume(self, *_: Any) -> None:
        self.steering.check_open()

    @workflow.signal(name="cancel")
    def cancel_by_signal(self, *_: Any) -> None:
        """End the job and all that it called."""
        self._cancel()

    @workflow.update(name="cancel")
    def cancel_by_update(self, *_: Any) -> None:
        """End the job and all that it called."""
        self._cancel()

    @cancel_by_update.validator
    def _may_cancel(self, *_: Any) -> None:
        self.steering.check_open()

    @workflow.signal(name="set_priority")
    def set_priority_by_signal(self, *given: Any) -> None:
        """A number from 1 (first) to 5 (last)."""
        try:
            self._set_priority(self.steering.check_priority(given[0] if given else None))
        except ColonyError as error:
            self.steering.refuse(error)

    @workflow.update(name="set_priority")
    def set_priority_by_update(self, *given: Any) -> int:
        """A number from 1 (first) to 5 (last); returns the one in force."""
        self._set_priority(self.steering.check_priority(given[0] if given else None))
        return self.steering.priority

    @set_priority_by_update.validator
    def _may_set_priority(self, *given: Any) -> None:
        self.steering.check_priority(given[0] if given else None)

    @workflow.signal(name="approve")
    def approve_by_signal(self, *given: Any) -> None:
        """An `Answer` as JSON object: `{"step", "approve", "comment", "by"}`."""
        try:
            self.steering.answer(answer_of(given), workflow.now().timestamp())
        except ColonyError as error:
            self.steering.refuse(error)

    @workflow.update(name="approve")
    def approve_by_update(self, *given: Any) -> dict[str, Any]:
        """An `Answer` as JSON object: `{"step", "approve", "comment", "by"}`; returns the decision."""
        self.steering.answer(answer_of(given), workflow.now().timestamp())
        return self.steering.decisions[-1].model_dump(mode="json")

    @approve_by_update.validator
    def _may_approve(self, *given: Any) -> None:
        self.steering.check_answer(answer_of(given))

    def _pause(self) -> None:
        self.steering.pause(paused=True, at=workflow.now().timestamp())

    def _set_priority(self, priority: int) -> None:
        self.steering.set_priority(priority)
        if self.steering.has_attribute(PRIORITY.name):
            workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType] -- the SDK leaves it open
                [PRIORITY.value_set(priority)]
            )

    def _cancel(self) -> None:
        self.steering.cancel()
        if not self.steering.ending:
            self._stop_main()

    def _stop_main(self) -> None:
        if self._main is not None:
            self._main.cancel()
