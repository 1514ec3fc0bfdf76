"""Moves running jobs from one version of the workers to the current one, or has them look whether they can."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import NamedTuple

import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.names import VERSIONS_CHANGED
from workflows.versions import RPC_TIMEOUT, asked, jobs_of

_log = structlog.get_logger(__name__)


class Moved(NamedTuple):
    """What came of a move."""

    moved: int
    """Jobs told to follow the current version."""
    failed: int
    """Jobs the server did not take that for; the reason of each is in the log."""


class Tally:
    """Takes jobs one by one: what the server says to one of them holds up none of the others."""

    def __init__(self, build: str) -> None:
        self._build = build
        self.done = 0
        self.failed = 0

    async def take(self, workflow_id: str, work: Awaitable[None]) -> None:
        """Do this for a job; a job that has ended meanwhile counts for nothing."""
        try:
            await work
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                self.failed += 1
                _log.warning("job not moved", workflow=workflow_id, of=self._build, error=error.message[:300])
        else:
            self.done += 1


async def move_pinned(client: Client, name: str, build: str) -> Moved:
    """Let the jobs that wait for `build` alone follow the current version.

    Jobs that were let before and were not told, since the process that did it ended in between, are told now. Their
    histories must replay with the current code: those of shipped workflows do. Raises `Unavailable` when the server
    does not list the jobs.
    """
    moved, told = Tally(build), Tally(build)
    with asked():
        async for workflow_id, run_id in _runs(client, jobs_of(name, build, "Pinned")):
            await moved.take(workflow_id, _let_follow(client, workflow_id, run_id))
        async for workflow_id, run_id in _runs(client, jobs_of(name, build, "AutoUpgrade")):
            await told.take(workflow_id, _tell_if_let(client, workflow_id, run_id, build))
    return Moved(moved.done, moved.failed + told.failed)


async def nudge_pinned(client: Client, name: str, build: str) -> None:
    """Have the jobs that wait for `build` look up, so that those that can change over do it now."""
    nudged = Tally(build)
    with asked():
        async for workflow_id, run_id in _runs(client, jobs_of(name, build, "Pinned")):
            await nudged.take(workflow_id, _nudge(client, workflow_id, run_id))


async def _let_follow(client: Client, workflow_id: str, run_id: str) -> None:
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        workflow_execution_options=WorkflowExecutionOptions(versioning_override=VersioningOverride(auto_upgrade=True)),
        update_mask=FieldMask(paths=["versioning_override"]),
    )
    await client.workflow_service.update_workflow_execution_options(request, timeout=RPC_TIMEOUT)
    await _nudge(client, workflow_id, run_id)


async def _tell_if_let(client: Client, workflow_id: str, run_id: str, build: str) -> None:
    """Jobs that follow the current version by themselves are left alone: many may sleep, and wake in their time."""
    found = await client.get_workflow_handle(workflow_id, run_id=run_id).describe(rpc_timeout=RPC_TIMEOUT)
    info = found.raw_description.workflow_execution_info.versioning_info
    if info.versioning_override.auto_upgrade and info.deployment_version.build_id == build:
        await _nudge(client, workflow_id, run_id)


async def _nudge(client: Client, workflow_id: str, run_id: str) -> None:
    await client.get_workflow_handle(workflow_id, run_id=run_id).signal(VERSIONS_CHANGED, rpc_timeout=RPC_TIMEOUT)


async def _runs(client: Client, query: str) -> AsyncGenerator[tuple[str, str]]:
    async for each in client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
        yield each.id, each.run_id
