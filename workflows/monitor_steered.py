"""The words every job takes, as a monitor takes them: a pause is one of its sites. Workflow code: deterministic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from colony.errors import ColonyError
    from colony.ids import Id
    from colony.jobs import JobPlan
    from workflows.attributes import updates
    from workflows.monitor_contracts import CHECK_STEP, TEMPLATE, MonitorOpened, MonitorResume, SitesChanged
    from workflows.policies import priority_of
    from workflows.steered import Steered
    from workflows.translate import to_colony_error

_SIGNALS = "monitor-signals"
"""Earlier builds knew no such signals; their histories, in which some came in vain, replay as they were."""


class SteeredMonitor(Steered):
    """Base of `website_monitor`. Nothing in it waits for a person, so that `approve` is always refused."""

    def __init__(self) -> None:
        super().__init__()
        self._plan: JobPlan | None = None

    @abstractmethod
    async def change(self, change: dict[str, Any]) -> SitesChanged:
        """Change the sites: see `SiteChange`. Raises an error of Temporal."""

    def begin_job(self, key: str, opened: MonitorOpened | MonitorResume) -> JobPlan:
        """The job is open; what came in since this run began holds."""
        self._plan = JobPlan(
            job=opened.job,
            key=key,
            workflow_id=workflow.info().workflow_id,
            template=Id(TEMPLATE),
            steps=(CHECK_STEP,),
            priority=opened.priority,
            tenant=opened.tenant,
            attributes=opened.attributes,
        )
        self.steering.begin(self._plan, None)
        return self._plan

    @property
    def turn(self) -> Priority:
        """The place of a round in the queue of activities on the ledger."""
        return priority_of(self.steering.priority, "" if self._plan is None else self._plan.tenant)

    @property
    def told(self) -> dict[str, Any]:
        """The part of `MonitorResume` that people said."""
        told: dict[str, Any] = {"priority": self.steering.priority}
        if self._plan is not None:
            told |= {"tenant": self._plan.tenant, "attributes": self._plan.attributes}
        return told

    def show_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Let people find the job by them; earlier builds hand over none."""
        if attributes:
            workflow.upsert_search_attributes(updates(attributes))  # pyright: ignore[reportUnknownMemberType] -- SDK

    # Other types than in the base: Temporal alone calls them, by their names, and waits for what they return.

    @workflow.update(name="pause")
    async def pause_by_update(self, *sites: str) -> SitesChanged:  # pyright: ignore[reportIncompatibleVariableOverride] -- see above
        """Look at these sites no more, or at none at all."""
        return await self.change(_pause(sites))

    @workflow.update(name="resume")
    async def resume_by_update(self, *sites: str) -> SitesChanged:  # pyright: ignore[reportIncompatibleVariableOverride] -- see above
        """Look at these sites again, or at all."""
        return await self.change(_resume(sites))

    @workflow.signal(name="pause")
    async def pause_by_signal(self, *sites: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] -- see above
        """Look at these sites no more, or at none at all."""
        await self._obey(_pause(sites))

    @workflow.signal(name="resume")
    async def resume_by_signal(self, *sites: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] -- see above
        """Look at these sites again, or at all."""
        await self._obey(_resume(sites))

    @workflow.signal(name="cancel")
    def cancel_by_signal(self, *_: Any) -> None:
        """End the job."""
        if workflow.patched(_SIGNALS):
            self._cancel()

    async def _obey(self, change: dict[str, Any]) -> None:
        """Change the sites as a signal says; the query `progress` says why where that cannot be."""
        if not workflow.patched(_SIGNALS):
            return
        try:
            await self.change(change)
        except (ColonyError, FailureError) as error:
            if is_cancelled_exception(error):
                raise
            self.steering.refuse(to_colony_error(error))


def _pause(sites: tuple[Any, ...]) -> dict[str, Any]:
    return {"pause": list(sites)} if sites else {"pause_all": True}


def _resume(sites: tuple[Any, ...]) -> dict[str, Any]:
    return {"resume": list(sites)} if sites else {"resume_all": True}
