"""The route of transcripts: who said what in a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from control.api import paging
from control.api.jobs import Name
from control.api.models import AgentName
from control.api.parts import Parts
from control.api.problems import documented
from control.transcript import CURSOR, TranscriptPage, read_page

_Cursor = Annotated[str | None, Query(pattern=CURSOR, description="`next` of the page before.")]
_Agent = Annotated[AgentName | None, Query(description="Said by this agent, or to it.")]
_Step = Annotated[str | None, Query(min_length=1, max_length=64, description="Name or number of a step.")]
_Task = Annotated[int | None, Query(ge=0, le=2**31 - 1, description="Number of a task in its step.")]


class TranscriptRoutes:
    """See `/v1/jobs/{name}/transcript`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The path."""
        router = APIRouter(prefix="/v1", tags=["jobs"])
        router.add_api_route("/jobs/{name}/transcript", self.read, methods=["GET"], responses=documented(404))
        return router

    async def read(
        self,
        name: Name,
        agent: _Agent = None,
        step: _Step = None,
        task: _Task = None,
        limit: paging.Limit = 50,
        cursor: _Cursor = None,
    ) -> TranscriptPage:
        """Calls of models and messages of a job, by time; those of a job that runs may come a moment late."""
        ledger = self._parts.ledger
        view = await ledger.job(name)
        return await read_page(ledger, view, limit, cursor=cursor or "", agent=agent or "", step=step or "", seq=task)
