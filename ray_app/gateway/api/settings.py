"""What the HTTP interfaces need to know."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names of this machine for itself: always allowed as `Host` and `Origin`."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Bounds and credentials of the HTTP interfaces."""

    key: str
    """What callers must send as `Authorization: Bearer` or `x-api-key`; empty asks for none."""
    hosts: frozenset[str] = frozenset()
    """Names besides those of loopback that `Host` and `Origin` may hold, without port."""
    max_body: int = 8 * 1024 * 1024
    """Largest request body, in bytes."""
    held_bodies: int = 8
    """All bodies held at once may be as large as this many of the largest; beyond it: 503."""
    body_seconds: float = 30.0
    """Time a client has to send its body."""
    write_seconds: float = 30.0
    """Time a client may take to make room for the next piece of its answer."""
    seconds: float = 120.0
    """Time a request has that names none."""
    most_seconds: float = 3600.0
    """Most time a request may ask for."""
    retry_after: float = 5.0
    """Seconds named in `Retry-After` where nobody knows better."""
    ollama_version: str = "0.11.4"
    """The Ollama version whose interface this follows; clients compare it."""
    behind_serve: bool = False
    """Ray Serve names requests itself: it adds `x-request-id` to what it passes on and to what goes back."""
