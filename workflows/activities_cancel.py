"""Cancels a workflow that was told so by a signal or an update."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from colony.errors import Unavailable
from workflows import names

_RPC_TIMEOUT: Final = timedelta(seconds=5)


@activity.defn(name=names.CANCEL_WORKFLOW)
async def cancel_workflow() -> None:
    """Have the server cancel the workflow that asks, so that it ends as cancelled: by itself it could only fail.

    One that has ended meanwhile is left alone. Raises `Unavailable`.
    """
    info = activity.info()
    if info.workflow_id is None:
        return
    handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    try:
        await handle.cancel(rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise Unavailable(f"Temporal does not cancel {info.workflow_id[:200]!r}: {error.message[:200]}.") from error
