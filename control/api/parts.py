"""What the routes of the API work with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio.converter import PayloadCodec

from colony.config.model import Config
from colony.ledger.port import Ledger
from colony.messaging.port import Messenger
from colony.registry.port import Registry
from control.api.outbox import Outbox
from control.api.slots import Slot
from control.why_facts import Asked
from workflows.engine import JobEngine
from workflows.schedules import Schedules


@dataclass(frozen=True)
class Parts:
    """Connections and settings; a test hands in the twins."""

    ledger: Ledger
    engine: JobEngine
    outbox: Outbox
    messenger: Slot[Messenger]
    registry: Slot[Registry]
    config: Config
    schedules: Schedules
    asked: Asked
    """Who is asked why a job waits."""
    codec: PayloadCodec | None = None
    """Encrypts what Temporal keeps; None where nothing is encrypted."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process ends: streams end then."""
