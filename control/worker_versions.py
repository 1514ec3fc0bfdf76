"""Versions of the workers, for a person at a terminal: list them, wait until one is free of jobs, make one current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from temporalio.client import Client

from colony.errors import BadInput, DeadlineExceeded
from control.session import endpoints_here, temporal_here
from control.settings import load_settings
from workflows.moving import move_pinned, nudge_pinned
from workflows.versions import Deployment, make_current, read_deployment, running_jobs

LOOK_EVERY: Final = 1.0
NUDGE_EVERY: Final = 30.0

Show = Callable[[dict[str, int]], None]
"""Called with build -> jobs still pinned to it, whenever that was looked at."""


async def versions() -> dict[str, Any]:
    """What `colony worker list --json` prints."""
    async with temporal_here() as client:
        seen = await read_deployment(client, _name())
        jobs = [await running_jobs(client, seen.name, each.build) for each in seen.versions]
    rows = [each.model_dump(mode="json") | {"jobs": count} for each, count in zip(seen.versions, jobs, strict=True)]
    return {"deployment": seen.name, "current": seen.current, "versions": rows}


async def drain(build: str, *, move: bool, timeout: float, show: Show) -> list[str]:
    """Wait until no job is pinned to `build`, or to any but the current one when that is empty; the builds waited for.

    Jobs that can change over by themselves are told to do so now; with `move` all follow the current version at once.
    Raises `NotFound`, `BadInput` for the current version, `DeadlineExceeded` after `timeout` seconds.
    """
    name = _name()
    async with temporal_here() as client:
        builds = to_drain(await read_deployment(client, name), build)
        deadline, nudged = time.monotonic() + timeout, float("-inf")
        failed = 0
        while True:
            seen = await read_deployment(client, name)
            left = {each.build: each.pinned for each in seen.versions if each.build in builds}
            show(left)
            if not any(left.values()) and not failed:
                return builds
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{sum(left.values()) or failed} jobs still wait for {', '.join(_waited(left))}.",
                    remedy="Wait longer with --timeout, or move them to the current version with --move.",
                )
            if time.monotonic() - nudged > NUDGE_EVERY:
                nudged = time.monotonic()
                failed = await _push(client, seen, _waited(left), move=move)
            await asyncio.sleep(LOOK_EVERY)


async def promote(build: str) -> Deployment:
    """Make `build` the current version. Raises `NotFound`, `Unavailable` when nobody polls for it."""
    async with temporal_here() as client:
        seen = await read_deployment(client, _name())
        if build not in ("", seen.current):
            seen.version(build)
        await make_current(client, seen.name, build)
        return await read_deployment(client, seen.name)


def to_drain(seen: Deployment, build: str) -> list[str]:
    """The builds that are meant: one, or all but the current one. Pure. Raises `NotFound`, `BadInput`."""
    if not build:
        return [each.build for each in seen.versions if each.build != seen.current]
    if seen.version(build).build == seen.current:
        raise BadInput(
            f"The build {build} is the current one: new jobs go to it.",
            remedy="Start a worker with a new build, or `colony worker promote` another one first.",
        )
    return [build]


def _waited(left: dict[str, int]) -> list[str]:
    """The builds that jobs wait for; all where none does: some of their jobs may not have been told yet."""
    return [build for build in left if left[build]] or list(left)


async def _push(client: Client, seen: Deployment, builds: list[str], *, move: bool) -> int:
    """Jobs that could not be moved."""
    failed = 0
    for build in builds:
        if move:
            failed += (await move_pinned(client, seen.name, build)).failed
        else:
            await nudge_pinned(client, seen.name, build)
    return failed


def _name() -> str:
    return load_settings(endpoints_here()).config.temporal.deployment
