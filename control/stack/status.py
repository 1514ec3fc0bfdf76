"""The state of the stack and its memory, and of the fleet where the ledger answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from colony.config.endpoints import Endpoints, read_endpoints
from colony.errors import ColonyError
from control.stack.fleet_status import fleet_status
from control.stack.gateway_status import with_gateway
from control.stack.identity import Entry, alive, all_entries, boot_id
from control.stack.memory import pss_mb
from control.stack.paths import StackPaths
from control.stack.proofs_versions import with_version
from control.stack.state import ServiceRecord, StackRecord, read_state
from control.stack.stopping import members

FLEET_SECONDS = 3.0


def stack_status(paths: StackPaths) -> dict[str, Any]:
    """The object of `colony status --json`. `profile` is empty when nothing was ever started."""
    record = read_state(paths.state_file)
    if record is None:
        return {"profile": "", "phase": "stopped", "services": {}, "fleet": None, "totals": {"pss_mb": 0.0}}
    entries = all_entries()
    same_boot = record.boot == boot_id()
    supervised = same_boot and alive(record.supervisor)
    services = {service.name: _service(service, entries, living=same_boot) for service in record.services}
    if supervised:
        ray = record.service("ray")
        services = with_gateway(services, _endpoints(paths), [] if ray is None else members(ray, entries))
        services = with_version(services, _endpoints(paths))
        own = [entry for entry in entries if entry.identity == record.supervisor]
        services["supervisor"] = {
            "state": "ready",
            "provider": "Colony",
            "address": "",
            "pss_mb": pss_mb(own),
            "restarts": 0,
            "note": "",
        }
    total = sum(service["pss_mb"] or 0.0 for service in services.values())
    return {
        "profile": record.profile,
        "phase": record.phase if supervised or record.phase in ("stopped", "failed") else "unsupervised",
        "ready_seconds": record.ready_seconds,
        "services": services,
        "fleet": _fleet(paths, record) if supervised else None,
        "totals": {"pss_mb": round(total, 1)},
    }


def _endpoints(paths: StackPaths) -> Endpoints | None:
    try:
        return read_endpoints(paths.home)
    except ColonyError:
        return None


def _service(record: ServiceRecord, entries: Iterable[Entry], *, living: bool) -> dict[str, Any]:
    found = members(record, entries) if living else []
    identities = [entry.identity for entry in found]
    lives = bool(record.processes) and all(identity in identities for identity in record.processes.values())
    state = record.state if lives or record.state not in ("ready", "starting", "stopping") else "dead"
    return {
        "state": state,
        "provider": record.provider,
        "address": record.address,
        "pss_mb": pss_mb(found),
        "processes": len(found),
        "restarts": record.restarts,
        "last_restart": record.last_restart,
        "ready_seconds": record.ready_seconds,
        "note": record.note,
    }


def _fleet(paths: StackPaths, record: StackRecord) -> dict[str, Any] | None:
    postgres = record.service("postgres")
    if postgres is None or postgres.state not in ("ready", "external"):
        return None

    async def ask() -> dict[str, Any]:
        async with asyncio.timeout(FLEET_SECONDS):
            return await fleet_status(read_endpoints(paths.home))

    try:
        return asyncio.run(ask())
    except (ColonyError, TimeoutError, OSError):
        return None
