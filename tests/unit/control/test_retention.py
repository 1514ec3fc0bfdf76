"""Retention is applied by one process at a time, and not at all where everything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.config.ledger import LedgerConfig
from colony.config.memory import MemoryConfig
from colony.contracts import JobState
from colony.errors import NoMemory, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.ledger.retention import Pruned
from colony.llm.port import Caller
from colony.memory.agent_memory import local_memory
from control import session
from control.cli import build_app
from control.retention import EVERY, ages, retain, retain_once
from tests.contract.ledger.fleet_of_one import loaded_job
from tests.eventually import assert_eventually

DAY = 86_400.0


async def closed_job(ledger: MemoryLedger) -> None:
    plan = await loaded_job(ledger, 3)
    await ledger.close_job(plan.job, JobState.DONE)


def test_zero_days_keep_for_ever() -> None:
    assert ages(LedgerConfig()) == (30 * DAY, 7 * DAY)
    assert ages(LedgerConfig(keep_days=0, keep_llm_days=0.5)) == (None, DAY / 2)


async def test_one_process_at_a_time() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    await closed_job(ledger)
    clock.advance(31 * DAY)
    assert await retain_once(ledger, LedgerConfig(keep_days=0, keep_llm_days=0), "a") is None
    pruned = await retain_once(ledger, LedgerConfig(), "a")
    assert pruned is not None
    assert pruned.jobs == 1
    assert await retain_once(ledger, LedgerConfig(), "b") is None
    clock.advance(3 * EVERY)
    assert await retain_once(ledger, LedgerConfig(), "b") == Pruned()


async def test_old_memories_go_too_and_their_absence_is_no_trouble() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    memory = local_memory(ledger, Caller(agent="research-1", job="Run-1"))
    await memory.add("mulch keeps the soil moist", scope="shared")
    clock.advance(2 * DAY)
    await memory.add("slugs eat lettuce", scope="shared")
    nothing = LedgerConfig(keep_days=0, keep_llm_days=0)
    assert await retain_once(ledger, nothing, "a", MemoryConfig(keep_days=0)) is None
    assert await retain_once(ledger, nothing, "a", MemoryConfig(keep_days=1)) == Pruned(memories=1)
    assert [entry.text for entry in await memory.search("slugs", scope="shared")] == ["slugs eat lettuce"]

    async def absent(*arguments: Any, **named: Any) -> int:
        raise NoMemory("no pgvector")

    ledger.forget_memories = absent
    assert await retain_once(ledger, nothing, "a", MemoryConfig(keep_days=1)) == Pruned()


async def test_it_is_applied_every_hour_and_survives_a_ledger_that_is_away() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)
    prune, failures = ledger.prune, [Unavailable("away")]

    async def away_once(*arguments: Any, **named: Any) -> Pruned:
        if failures:
            raise failures.pop()
        return await prune(*arguments, **named)

    ledger.prune = away_once
    await closed_job(ledger)
    clock.advance(31 * DAY)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(retain(ledger, LedgerConfig(), clock=clock))

        async def forgotten() -> bool:
            clock.advance(EVERY / 4)
            return await ledger.jobs() == []

        await assert_eventually(forgotten)
        await assert_eventually(lambda: len(logs) == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [entry["event"] for entry in logs] == ["retention could not be applied", "old rows forgotten"]


def test_the_command_says_what_would_go_and_then_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    monkeypatch.setattr(session, "ledger_here", here)
    asyncio.run(closed_job(ledger))
    clock.advance(2 * DAY)

    def prune(*arguments: str) -> str:
        return CliRunner().invoke(build_app(), ["prune", "--older-than", *arguments], catch_exceptions=False).output

    assert prune("3") == "Nothing is that old.\n"
    assert prune("1", "--dry-run").startswith("Would forget 1 jobs, 3 tasks")
    assert '"jobs": 1' in prune("1", "--json")
    assert prune("0") == "Nothing is that old.\n"


def test_a_negative_age_is_refused() -> None:
    assert CliRunner().invoke(build_app(), ["prune", "--older-than", "-1"]).exit_code == 2
