"""What a person who follows a job must know while nothing moves: that it waits for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from temporalio.client import Client

from colony.contracts import JobView
from colony.errors import ColonyError
from workflows.client import job_progress
from workflows.contracts import PendingApproval
from workflows.engine import reached

Asked = Callable[[JobView], Awaitable[list[str]]]
"""Tells the lines to show for a job that does not move."""

_SHOWN: Final = 300
_ASK_SECONDS: Final = 10.0


def approvals_by(client: Client) -> Asked:
    """What a job waits for a person for; nothing where it cannot be asked: following it goes on without."""

    async def asked(view: JobView) -> list[str]:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                with reached():
                    progress = await job_progress(client, view.workflow_id)
        except (ColonyError, TimeoutError):  # no worker, or no Temporal, answers just now: the next look asks again
            return []
        return [spoken(view.job, pending) for pending in progress.approvals or ()]

    return asked


def spoken(job: int, pending: PendingApproval) -> str:
    """One approval for people: the question, what there is to look at, and how to answer. Pure."""
    shown = "" if pending.shown is None else f" ({_short(pending.shown)})"
    return f"It waits for a person: {pending.prompt}{shown} Answer with: colony approve {job} [--reject]"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
