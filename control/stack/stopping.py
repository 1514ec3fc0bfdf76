"""Stop what a record names, in order, and prove that nothing of it is left."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from itertools import groupby

import structlog

from colony.errors import Unavailable
from control.stack.identity import Entry, all_entries, family, send
from control.stack.state import ServiceRecord, StackRecord

_log = structlog.get_logger(__name__)

AFTER_KILL_SECONDS = 10.0


def members(record: ServiceRecord, entries: Iterable[Entry] | None = None) -> list[Entry]:
    """Every living process of the service."""
    if record.session is None:
        return []
    return family(record.session, all_entries() if entries is None else entries)


async def stop_service(record: ServiceRecord, *, seconds: float | None = None) -> None:
    """Ask the service to stop, then kill what is left of it. Raises `Unavailable` if something survives even that.

    `seconds` is the time it gets instead of its own; 0 kills at once.
    """
    grace = record.stop_seconds if seconds is None else seconds
    began = time.monotonic()
    found = members(record)
    if found and grace > 0:
        # A service of several vital processes has no single one that ends the others.
        targets = [record.session] if len(record.processes) == 1 else [entry.identity for entry in found]
        for target in targets:
            if target is not None:
                send(target, signal.Signals(record.stop_signal))
        found = await _gone(record, grace)
    if found:
        await kill_service(record)
    _log.info("stopped", service=record.name, seconds=round(time.monotonic() - began, 2), killed=len(found))


async def kill_service(record: ServiceRecord) -> None:
    """Kill every process of the service. Raises `Unavailable` if one survives."""
    deadline = asyncio.get_running_loop().time() + AFTER_KILL_SECONDS
    while found := members(record):
        for entry in found:
            send(entry.identity, signal.SIGKILL)
        if asyncio.get_running_loop().time() > deadline:
            pids = ", ".join(str(entry.identity.pid) for entry in found)
            raise Unavailable(f"Processes of {record.name} survive SIGKILL: {pids}.")
        await asyncio.sleep(0.05)


async def stop_in_stages(
    records: Iterable[ServiceRecord],
    stop: Callable[[ServiceRecord], object] | None = None,
) -> None:
    """Stop services stage by stage, those of one stage together; `stop` is told before each."""
    ordered = sorted(records, key=lambda record: record.stop_stage)
    for _, stage in groupby(ordered, key=lambda record: record.stop_stage):
        together = list(stage)
        if stop is not None:
            for record in together:
                stop(record)
        await asyncio.gather(*(stop_service(record) for record in together))


def remove_ray_folder(record: StackRecord) -> None:
    """Remove what Ray leaves behind: its session, sockets and logs."""
    if record.ray_folder:
        shutil.rmtree(record.ray_folder, ignore_errors=True)


async def _gone(record: ServiceRecord, seconds: float) -> list[Entry]:
    """Wait until the service has ended; what is left of it after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = members(record)
        if not found or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.05)
