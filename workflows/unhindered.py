"""Work at the end of a job that a cancel must not cut in two. Workflow code: deterministic."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow

_PATCH = "ends-unhindered"
"""Histories of earlier builds, in which a cancel cut the end of a job in two, replay as they went."""


async def unhindered(work: Coroutine[Any, Any, None], *, cut_before: bool) -> None:
    """Do this to its end, whoever cancels meanwhile. Raises what `work` raises.

    `cut_before`: whether earlier builds cancelled the work too, or left it alone and did not wait for it.
    """
    doing = asyncio.ensure_future(work)
    while not doing.done():
        try:
            await asyncio.shield(doing)
        except asyncio.CancelledError:
            # Asked only here: a job that nobody cancels at its end has the history it always had.
            if not workflow.patched(_PATCH):
                if cut_before:
                    doing.cancel()
                raise
    doing.result()
