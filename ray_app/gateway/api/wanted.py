"""What a request of either interface comes to: what to ask, and how to say the answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ray_app.gateway.api.problems import Problem
from ray_app.gateway.contracts import Body, Chunk, Kind


class Renderer(Protocol):
    """Says one answer in the words of one interface. Keeps what a stream needs from piece to piece."""

    @property
    def content_type(self) -> str:
        """Of a stream."""
        ...

    def whole(self, body: Body) -> Body:
        """The whole answer. Never changes `body`: it may be in the cache."""
        ...

    def piece(self, chunk: Chunk) -> bytes:
        """The bytes of one piece; may be empty. Never changes `chunk`."""
        ...

    def end(self) -> bytes:
        """What follows the last piece."""
        ...

    def failure(self, problem: Problem) -> bytes:
        """What follows instead, when the stream broke off."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checked request."""

    kind: Kind
    model: str
    """As the caller named it: a model, a tier, or empty."""
    body: Body
    """OpenAI's shape, without `model`, `stream`, `stream_options` and `user`."""
    renderer: Callable[[str], Renderer]
    """Makes the renderer of one answer from the request's id."""
    stream: bool = False
    user: str = ""
    """What the caller calls itself in the body."""
