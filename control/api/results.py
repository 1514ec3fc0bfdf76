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
        found = await self._parts.ledger.artifacts(view.job)
        return Artifacts(
            items=tuple(
                ArtifactAnswer(name=each.name, media_type=each.media_type, bytes=len(each.content)) for each in found
            )
        )

    async def artifact(self, name: Name, artifact: Annotated[str, Path(max_length=500)]) -> Response:
        """The content of one."""
        view = await self._parts.ledger.job(name)
        for each in await self._parts.ledger.artifacts(view.job):
            if each.name == artifact:
                # Written by agents: a browser must not run it with the rights of this API's pages.
                headers = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
                return Response(each.content, media_type=each.media_type, headers=headers)
        raise NotFound(f"Job {view.job} has no artifact {artifact[:80]!r}.")

    async def dead_letters_of(self, name: Name, limit: paging.Limit = 50) -> DeadLetters:
        """Tasks of a job whose last outcome is a failure."""
        view = await self._parts.ledger.job(name)
        return DeadLetters(items=tuple(await self._parts.ledger.dead_letters(view.job, limit)))

    async def dead_letters(self, limit: paging.Limit = 50) -> DeadLetters:
        """Tasks of all jobs whose last outcome is a failure."""
        return DeadLetters(items=tuple(await self._parts.ledger.dead_letters(None, limit)))


async def _all(first: str, rest: AsyncGenerator[str]) -> AsyncGenerator[str]:
    yield first
    async for piece in rest:
        yield piece
