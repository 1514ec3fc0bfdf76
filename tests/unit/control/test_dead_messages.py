"""`colony dead-letters --messages`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.contracts import AgentSpec, DurableMessage
from colony.errors import BadInput
from colony.ids import AgentType, Id
from colony.ledger.memory import MemoryLedger
from control import session
from control.cli import build_app
from tests.contract.ledger.fleet_of_one import AGENTS, start_host


async def with_a_dead_message(ledger: MemoryLedger) -> None:
    await ledger.put_agents([AgentSpec(agent_id=AGENTS[0], agent_type=AgentType("analysis"))])
    host = await start_host(ledger)
    message = DurableMessage(message_id="m", agent_id=AGENTS[0], kind=Id("note"), payload={"n": 1}, sender="[bold]")
    await ledger.put_message(message)
    await ledger.finish_message("m", host.incarnation, host.epochs, None, error="HostCrashed", reason="three times")


def test_messages_that_failed_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger(ManualClock())

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    def listed(*arguments: str) -> str:
        return (
            CliRunner()
            .invoke(
                build_app(), ["dead-letters", "--messages", *arguments], catch_exceptions=False, env={"COLUMNS": "200"}
            )
            .output
        )

    monkeypatch.setattr(session, "ledger_here", here)
    assert listed() == "No dead messages.\n"
    asyncio.run(with_a_dead_message(ledger))
    assert "HostCrashed" in listed()
    (found,) = json.loads(listed("--json"))
    assert (found["error"], found["message"]["payload"]) == ("HostCrashed", {"n": 1})
    with pytest.raises(BadInput):
        listed("12")
