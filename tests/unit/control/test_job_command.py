"""`colony job ID --json`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.config.endpoints import TemporalEndpoint
from colony.contracts import AgentSpec, JobState
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from control import session
from control.cli import build_app
from tests.contract.ledger.fleet_of_one import AGENTS, batch_of, good, loaded_job, start_host
from workflows.client import connect_later


async def test_steps_of_a_job_say_how_long_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    ledger = MemoryLedger(clock)

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    def shown(job: int) -> list[float]:
        found = CliRunner().invoke(build_app(), ["job", str(job), "--json"], catch_exceptions=False).output
        return [step["seconds"] for step in json.loads(found)["steps"]]

    monkeypatch.setattr(session, "ledger_here", here)
    await ledger.put_agents([AgentSpec(agent_id=agent_id, agent_type=AgentType("analysis")) for agent_id in AGENTS])
    host = await start_host(ledger)
    plan = await loaded_job(ledger, 2)
    batch = batch_of(plan, 0, 2)
    await ledger.start_tasks(batch, host.incarnation, [0, 1])
    clock.advance(3.0)
    assert await asyncio.to_thread(shown, plan.job) == [0.0, 3.0, 0.0, 0.0], "while it runs"
    await host.commit(batch, [good(0), good(1)])
    clock.advance(50.0)
    await ledger.close_job(plan.job, JobState.DONE)
    assert await asyncio.to_thread(shown, plan.job) == [0.0, 3.0, 0.0, 0.0], "when it is done"


async def test_a_job_that_ended_is_shown_while_temporal_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger(ManualClock())

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    async def later() -> Client:
        return await connect_later(TemporalEndpoint(address="127.0.0.1:1"))

    def shown(job: int) -> str:
        return CliRunner().invoke(build_app(), ["job", str(job)], catch_exceptions=False).output

    monkeypatch.setattr(session, "ledger_here", here)
    monkeypatch.setattr(session, "temporal_later_here", later)
    plan = await loaded_job(ledger, 2)
    await ledger.close_job(plan.job, JobState.DONE)
    assert f"Job {plan.job}" in await asyncio.to_thread(shown, plan.job)
