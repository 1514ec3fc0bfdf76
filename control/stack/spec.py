"""What the supervisor needs to know of one service."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Probe = Callable[[int], Awaitable[bool]]
"""Gets the pid; answers whether the service is ready. May raise OSError or Transient for no."""

Step = Callable[[], Awaitable[None]]
"""Idempotent work before the start or between ready and usable."""


@dataclass(frozen=True)
class ServiceSpec:
    """How to run one service. Commands hold no secret."""

    name: str
    provider: str
    """Who provides it, for people: `embedded postgres 18`."""
    address: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """The whole environment."""
    folder: Path
    """Working directory."""
    probe: Probe
    depends_on: tuple[str, ...] = ()
    """Services that must be usable before this one starts."""
    follows: tuple[str, ...] = ()
    """Services whose restart takes this one along: it is stopped before and started after."""
    stop_stage: int = 0
    """Stages stop in rising order, services of one stage together."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    start_seconds: float = 60.0
    tries: int = 1
    """Starts before it counts as failed."""
    patience: float | None = None
    """Seconds the probe of a ready service may fail before it counts as frozen and is started again; None for ever."""
    user: str | None = None
    """Account to run as, when we are root."""
    prepare: Step | None = None
    finish: Step | None = None
    vital: tuple[str, ...] = ()
    """For a command that starts daemons and ends: names of the processes in its session that must live."""
    note: str = ""
    """One sentence for `status`, where something is worth knowing."""
    secrets: frozenset[str] = field(default_factory=frozenset[str])
    """Names of environment variables that hold secrets: kept out of the fingerprint's file."""

    @property
    def fingerprint(self) -> str:
        """Changes when the service would be started in another way; no secret can be told from it.

        What was merely inherited (PATH, the shell's own variables) does not count: `colony up` from another shell
        must find the same services.
        """
        environment = {
            name: value
            for name, value in self.environment.items()
            if name not in self.secrets and (name.startswith(("COLONY_", "RAY_")) or name not in os.environ)
        }
        text = json.dumps([self.command, sorted(environment.items()), self.user])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
