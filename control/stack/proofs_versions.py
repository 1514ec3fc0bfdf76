"""Proof that the current version of the workers is there: without it every new job would wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from colony.config.endpoints import Endpoints
from colony.config.temporal import TemporalConfig
from colony.errors import ColonyError, DeadlineExceeded, Unavailable
from control.settings import load_settings
from workflows.client import connect
from workflows.versions import Deployment, read_deployment

_STATUS_SECONDS: Final = 4.0
_LOOKS: Final = 3


async def version_is_there(endpoints: Endpoints) -> str:
    """Somebody polls for the current version, and for every one that jobs wait for."""
    config = load_settings(endpoints).config.temporal
    return judged(await _seen(endpoints, config, 5.0), versioning=config.versioning)


def with_version(services: dict[str, dict[str, Any]], endpoints: Endpoints | None) -> dict[str, dict[str, Any]]:
    """`services` with what is wrong with the versions of the workers, asked now; as they are when nobody answers."""
    if endpoints is None or services.get("worker", {}).get("state") != "ready":
        return services

    async def ask() -> tuple[Deployment, bool]:
        async with asyncio.timeout(_STATUS_SECONDS):
            config = load_settings(endpoints).config.temporal
            return await _seen(endpoints, config, 1.0), config.versioning

    return services | {"worker": services["worker"] | told(ask)}


def told(ask: Callable[[], Coroutine[Any, Any, tuple[Deployment, bool]]]) -> dict[str, str]:
    """What changes in the row of the worker: nothing where all is well, a note where `ask` came to no end in time.

    `ask` gives what the server says, and whether workers carry a version.
    """
    try:
        seen, versioning = asyncio.run(ask())
    except (TimeoutError, DeadlineExceeded):
        return {"note": "versions not looked at: Temporal did not answer in time"}
    except ColonyError:
        return {}  # the row of Temporal says what is wrong with it
    try:
        judged(seen, versioning=versioning)
    except Unavailable as error:
        return {"state": "unavailable", "note": str(error).rstrip(".")}
    return {}


async def _seen(endpoints: Endpoints, config: TemporalConfig, timeout: float) -> Deployment:
    """What the server says; asked again for two seconds while somebody is missing: it may have just started."""
    async with connect(endpoints.temporal, timeout=timeout) as client:
        seen = await read_deployment(client, config.deployment)
        for _ in range(_LOOKS - 1):
            if not missing(seen, versioning=config.versioning):
                break
            await asyncio.sleep(1.0)
            seen = await read_deployment(client, config.deployment)
    return seen


def missing(seen: Deployment, *, versioning: bool) -> bool:
    """Whether new jobs, or those of a version, wait for workers that are not there, or get none. Pure."""
    return (
        seen.deserted
        or (versioning and seen.undecided)
        or any(each.pinned and not each.pollers for each in seen.versions)
    )


def judged(seen: Deployment, *, versioning: bool) -> str:
    """What is told of the versions. Pure. Raises `Unavailable` with a remedy where jobs wait for nobody.

    `versioning` says that workers here carry a version, so that they get no new jobs while none is current.
    """
    if versioning and seen.undecided:
        there = ", ".join(each.build for each in seen.versions if each.pollers)
        raise Unavailable(
            f"No build is current, though workers run ({there}): new jobs wait for ever.",
            remedy="Give them to one of `colony worker list`: `colony worker promote BUILD`.",
        )
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
