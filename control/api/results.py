"""Routes of what jobs leave: results, artifacts, and tasks that failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.responses import StreamingResponse

from colony.errors import NotFound
from control.api import paging
from control.api.finding import Name
from control.api.models import ArtifactAnswer, Artifacts, DeadLetters
from control.api.parts import Parts
from control.api.problems import documented
from control.results import MEDIA_TYPES, Form, result_pieces


class ResultRoutes:
    """See the paths."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter(prefix="/v1", tags=["jobs"])
        one, not_found = "/jobs/{name}", documented(404)
        forms: dict[int | str, dict[str, object]] = {200: {"content": {media: {} for media in MEDIA_TYPES.values()}}}
        router.add_api_route(
            f"{one}/results", self.results, methods=["GET"], responses={**not_found, **forms}, response_class=Response
        )
        router.add_api_route(f"{one}/artifacts", self.artifacts, methods=["GET"], responses=not_found)
        content = {200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
        router.add_api_route(
            f"{one}/artifacts/{{artifact:path}}",
            self.artifact,
            methods=["GET"],
            responses={**not_found, **content},
            response_class=Response,
        )
        router.add_api_route(f"{one}/dead-letters", self.dead_letters_of, methods=["GET"], responses=not_found)
        router.add_api_route("/dead-letters", self.dead_letters, methods=["GET"], responses=documented())
        return router

    async def results(self, name: Name, format: Annotated[Form, Query()] = "json") -> Response:  # noqa: A002 -- the word of the command
        """The report (md), the rows of the last map step (csv) or everything (json)."""
        pieces = result_pieces(self._parts.ledger, await self._parts.ledger.job(name), format)
        first = await anext(pieces)  # what is missing is told before an answer begins
        return StreamingResponse(_all(first, pieces), media_type=MEDIA_TYPES[format])

    async def artifacts(self, name: Name) -> Artifacts:
        """What the job left, without the contents."""
        view = await self._parts.ledger.job(name)
        found = await self._parts.ledger.artifact_notes(view.job)
        return Artifacts(items=tuple(ArtifactAnswer(**each.model_dump()) for each in found))

    async def artifact(self, name: Name, artifact: Annotated[str, Path(max_length=500)]) -> Response:
        """The content of one."""
        view = await self._parts.ledger.job(name)
        found = await self._parts.ledger.artifact(view.job, artifact)
        if found is None:
            raise NotFound(f"Job {view.job} has no artifact {artifact[:80]!r}.")
        # Written by agents: a browser must not run it with the rights of this API's pages.
        headers = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def dead_letters_of(
        self, name: Name, limit: paging.Limit = 50, cursor: paging.LetterCursor = None
    ) -> DeadLetters:
        """Tasks of a job whose last outcome is a failure, by step and number."""
        view = await self._parts.ledger.job(name)
        return await self._letters(view.job, limit, cursor)

    async def dead_letters(self, limit: paging.Limit = 50, cursor: paging.LetterCursor = None) -> DeadLetters:
        """Tasks of all jobs whose last outcome is a failure: newest job first, then by step and number."""
        return await self._letters(None, limit, cursor)

    async def _letters(self, job: int | None, limit: int, cursor: str | None) -> DeadLetters:
        found = await self._parts.ledger.dead_letters(job, limit + 1, after=paging.letter_cursor(cursor))
        page = found[:limit]
        more = f"{page[-1].job}.{page[-1].step}.{page[-1].seq}" if len(found) > limit else None
        return DeadLetters(items=tuple(page), next=more)


async def _all(first: str, rest: AsyncGenerator[str]) -> AsyncGenerator[str]:
    yield first
    async for piece in rest:
        yield piece
