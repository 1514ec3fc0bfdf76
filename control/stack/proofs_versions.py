"""Proof that the current version of the workers is there: without it every new job would wait for ever."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from colony.config.endpoints import Endpoints
from colony.errors import ColonyError, Unavailable
from control.settings import load_settings
from workflows.client import connect
from workflows.versions import Deployment, read_deployment

_STATUS_SECONDS: Final = 4.0
_LOOKS: Final = 3


async def version_is_there(endpoints: Endpoints) -> str:
    """Somebody polls for the current version, and for every one that jobs wait for."""
    return judged(await _seen(endpoints, 5.0))


def with_version(services: dict[str, dict[str, Any]], endpoints: Endpoints | None) -> dict[str, dict[str, Any]]:
    """`services` with what is wrong with the versions of the workers, asked now; as they are when nobody answers."""
    if endpoints is None or services.get("worker", {}).get("state") != "ready":
        return services

    async def ask() -> Deployment:
        async with asyncio.timeout(_STATUS_SECONDS):
            return await _seen(endpoints, 1.0)

    try:
        seen = asyncio.run(ask())
    except (ColonyError, TimeoutError):
        return services  # the row of Temporal says what is wrong with it
    try:
        judged(seen)
    except Unavailable as error:
        return services | {"worker": services["worker"] | {"state": "unavailable", "note": str(error).rstrip(".")}}
    return services


async def _seen(endpoints: Endpoints, timeout: float) -> Deployment:
    """What the server says; asked again for two seconds while somebody is missing: it may have just started."""
    name = load_settings(endpoints).config.temporal.deployment
    async with connect(endpoints.temporal, timeout=timeout) as client:
        seen = await read_deployment(client, name)
        for _ in range(_LOOKS - 1):
            if not missing(seen):
                break
            await asyncio.sleep(1.0)
            seen = await read_deployment(client, name)
    return seen


def missing(seen: Deployment) -> bool:
    """Whether new jobs, or those of a version, wait for workers that are not there. Pure."""
    return seen.deserted or any(each.pinned and not each.pollers for each in seen.versions)


def judged(seen: Deployment) -> str:
    """What is told of the versions. Pure. Raises `Unavailable` with a remedy where jobs wait for nobody."""
    if seen.deserted:
        raise Unavailable(
            f"The current build {seen.current} has no worker: new jobs wait for ever.",
            remedy="Start its worker, or give jobs to one of `colony worker list`: `colony worker promote BUILD`.",
        )
    lost = [each for each in seen.versions if each.pinned and not each.pollers]
    if lost:
        raise Unavailable(
            f"{sum(each.pinned for each in lost)} jobs wait for {', '.join(each.build for each in lost)}, "
            "which has no worker.",
            remedy="Start such a worker, or move them: `colony worker drain --move`.",
        )
    if not seen.current:
        return "workers without a version"
    return f"{seen.name} {seen.current}, {seen.version(seen.current).pollers} pollers"
