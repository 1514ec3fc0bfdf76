"""One exchange: what was asked of which path, and the headers every answer carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray_app.gateway.api.connection import Connection
from ray_app.gateway.api.keys import Headers
from ray_app.gateway.api.problems import Problem

Pairs = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Exchange:
    """A request under way."""

    connection: Connection
    method: str
    path: str
    headers: Headers
    request_id: str
    """Empty until the caller is let in."""
    names_itself: bool
    """Whether `x-request-id` is ours to send."""

    def header(self, name: bytes) -> str:
        """A header's value; empty where it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    def own_headers(self) -> Pairs:
        """What every answer to a caller carries."""
        if not self.request_id:
            return []
        named = self.request_id.encode()
        if self.names_itself:
            return [(b"x-request-id", named), (b"x-colony-request-id", named)]
        return [(b"x-colony-request-id", named)]

    async def reply(self, status: int, body: Any, headers: Pairs | None = None) -> None:
        """A whole answer."""
        await self.connection.reply(status, body, [*self.own_headers(), *(headers or ())])


def origin_headers(backend: str, cache: str) -> Pairs:
    """Where an answer comes from, whole or in pieces; `backend` is empty where nobody was called for it."""
    headers: Pairs = [(b"x-colony-cache", cache.encode())]
    if backend:
        headers.append((b"x-colony-backend", backend.encode()))
    return headers


def problem_headers(problem: Problem) -> Pairs:
    """What an error adds."""
    headers: Pairs = []
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % problem.retry_after))
    if problem.final:
        headers.append((b"x-should-retry", b"false"))  # OpenAI's client tries every 429 again but for this
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is still on its way
    return headers
