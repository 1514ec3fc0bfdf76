"""What `colony status` says of the gateway: whether it answers now, and the memory of all its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from colony.config.endpoints import Endpoints
from control.stack.gateway import NAME
from control.stack.identity import Entry
from control.stack.memory import pss_mb
from control.stack.probes import http_answers

SERVE_NAMES: Final = ("ray::ServeContr", "ray::ProxyActor", "ray::ServeRepli")
"""What the kernel keeps of the names of Serve's processes: 15 letters."""


def with_gateway(
    services: dict[str, dict[str, Any]], endpoints: Endpoints | None, ray_entries: Iterable[Entry]
) -> dict[str, dict[str, Any]]:
    """`services` with the row of the gateway, asked now; Serve's processes count there and no more with Ray."""
    if endpoints is None or endpoints.gateway is None or "ray" not in services:
        return services
    row = services.get(NAME) or {
        "state": "ready",
        "provider": "Ray Serve",
        "address": endpoints.gateway.url.removeprefix("http://"),
        "pss_mb": 0.0,
        "processes": 0,
        "restarts": 0,
        "note": "",
    }
    serve = serve_entries(ray_entries)
    memory = pss_mb(serve) or 0.0
    if row["state"] == "ready" and not asyncio.run(http_answers(f"{endpoints.gateway.url}/health")):
        row = row | {"state": "unavailable"}
    return services | {
        "ray": _grown(services["ray"], -memory, -len(serve)),
        NAME: _grown(row, memory, len(serve)),
    }


def serve_entries(entries: Iterable[Entry]) -> list[Entry]:
    """The processes of Ray Serve among those of a Ray head. Pure."""
    return [entry for entry in entries if entry.name in SERVE_NAMES]


def _grown(row: dict[str, Any], megabytes: float, processes: int) -> dict[str, Any]:
    memory = round((row["pss_mb"] or 0.0) + megabytes, 1)
    return row | {"pss_mb": memory, "processes": row["processes"] + processes}
