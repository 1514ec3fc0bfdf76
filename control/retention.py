"""Applies retention: forgets what the configuration says is old, now and then, in one process at a time."""

from __future__ import annotations

import random
import uuid
from typing import Final

import structlog

from colony.clock import Clock, SystemClock
from colony.config.ledger import LedgerConfig
from colony.config.memory import MemoryConfig
from colony.errors import ColonyError, NoMemory
from colony.ledger.port import Ledger
from colony.ledger.retention import Pruned

_log = structlog.get_logger(__name__)

LEADER: Final = "retention"
"""Name of the lead that whoever applies retention holds."""

EVERY: Final = 3600.0
"""Seconds between two rounds."""

_FIRST: Final = 60.0
_LEAD_SECONDS: Final = 2 * EVERY
_DAY: Final = 86_400.0


def ages(config: LedgerConfig) -> tuple[float | None, float | None]:
    """Seconds that jobs and calls of models are kept; None for ever. Pure."""
    return config.keep_days * _DAY or None, config.keep_llm_days * _DAY or None


async def retain_once(
    ledger: Ledger, config: LedgerConfig, holder: str, memory: MemoryConfig | None = None
) -> Pruned | None:
    """Forget what is old; None where there is nothing to do or another process does it."""
    jobs_age, calls_age = ages(config)
    memory_age = memory.keep_days * _DAY if memory is not None else 0.0
    if jobs_age is None and calls_age is None and not memory_age:
        return None
    if await ledger.lead(LEADER, holder, _LEAD_SECONDS) is None:
        return None
    pruned = await ledger.prune(jobs_age, calls_age)
    if memory_age:
        pruned = pruned.plus(Pruned(memories=await _forget(ledger, memory_age)))
    return pruned


async def _forget(ledger: Ledger, age: float) -> int:
    try:
        return await ledger.forget_memories(age=age)
    except NoMemory:
        return 0  # nothing is remembered, so nothing is old


async def retain(
    ledger: Ledger, config: LedgerConfig, memory: MemoryConfig | None = None, *, clock: Clock | None = None
) -> None:
    """Apply retention a minute after the start and every hour, until cancelled. Survives outages of the ledger."""
    clock = clock or SystemClock()
    holder = str(uuid.uuid4())
    wait = _FIRST
    while True:
        await clock.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
        wait = EVERY
        try:
            pruned = await retain_once(ledger, config, holder, memory)
        except ColonyError as error:
            _log.warning("retention could not be applied", error=str(error))
        else:
            if pruned is not None and pruned != Pruned():
                _log.info("old rows forgotten", **pruned._asdict())
