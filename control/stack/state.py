"""What the supervisor writes down: enough to show the stack, to adopt it and to stop it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from colony.contracts import Frozen
from control.stack.identity import Identity

ServiceState = Literal[
    "waiting", "preparing", "starting", "ready", "restarting", "stopping", "stopped", "failed", "external"
]
Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


class ServiceRecord(Frozen):
    """One service."""

    name: str
    state: ServiceState = "waiting"
    provider: str = ""
    address: str = ""
    note: str = ""
    session: Identity | None = None
    """The process that opened the service's session; it may have ended (Ray)."""
    processes: dict[str, Identity] = Field(default_factory=dict[str, Identity])
    """The processes that must live."""
    restarts: int = 0
    last_restart: str = ""
    """Why the last of them: `died` or `frozen`, or the service this one follows."""
    since: float = 0.0
    """Wall time of the last change of state."""
    ready_seconds: float | None = None
    """How long the last start took, preparation included."""
    fingerprint: str = ""
    stop_signal: int = 15
    stop_seconds: float = 10.0
    stop_stage: int = 0


class Failure(Frozen):
    """Why the stack did not come up."""

    service: str
    message: str
    remedy: str = ""


class StackRecord(Frozen):
    """The whole stack."""

    supervisor: Identity
    boot: str
    profile: str
    phase: Phase = "starting"
    started: float = 0.0
    """Wall time at which this supervisor began."""
    ready_seconds: float | None = None
    failure: Failure | None = None
    ray_folder: str = ""
    services: tuple[ServiceRecord, ...] = ()

    def service(self, name: str) -> ServiceRecord | None:
        """The record of one service."""
        return next((record for record in self.services if record.name == name), None)


def read_state(path: Path) -> StackRecord | None:
    """What was written last; None when nothing was, or it cannot be read any more."""
    try:
        return StackRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_state(path: Path, record: StackRecord) -> None:
    """Replace the file in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(record.model_dump_json(indent=1), encoding="utf-8")
    fresh.replace(path)
