"""The shipped workflows as a worker with a version runs them: the same decisions, and how they change versions.

Temporal refuses what says how it changes versions from a worker that has none, so that these are classes of their own.
Why which one does what: docs/adr/0011-worker-versions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from colony.errors import ColonyError
    from workflows import monitor_contracts as contracts
    from workflows.contracts import JobResult
    from workflows.monitor import WebsiteMonitor
    from workflows.pipeline import Pipeline


@workflow.defn(dynamic=True, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UpgradingPipeline(Pipeline):
    """Goes on with the current version at its next decision: its histories replay with every later version."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> JobResult:
        """See `Pipeline`."""
        return await super().run(args)


@workflow.defn(
    name=contracts.TEMPLATE,
    failure_exception_types=[ColonyError, ValidationError],
    versioning_behavior=VersioningBehavior.PINNED,
)
class PinnedMonitor(WebsiteMonitor):
    """Keeps its version for a whole run, and changes over between two, when it continues as new."""

    @workflow.run
    async def run(self, *given: Any) -> JobResult:
        """See `WebsiteMonitor`."""
        return await super().run(*given)
