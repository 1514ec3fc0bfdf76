"""The section `api` of `agent_config.yaml`. Pure data."""

from __future__ import annotations

from pydantic import Field

from colony.config.section import Section


class ApiConfig(Section):
    """The HTTP API."""

    hosts: tuple[str, ...] = ()
    """Names besides those of loopback that `Host` and `Origin` may hold, without port."""
    max_body_kb: int = Field(default=1024, ge=1, le=65_536)
    """Largest body of a request, in kilobytes."""
    streams: int = Field(default=64, ge=1, le=10_000)
    """Most event streams served at once; one more is answered 503."""
