"""`colony dead-letters`, page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.errors import BadInput
from colony.ledger.memory import MemoryLedger
from control import session
from control.cli import build_app
from tests.contract.ledger.fleet_of_one import bad, batch_of, loaded_job, start_host


async def with_failures(ledger: MemoryLedger, count: int) -> int:
    plan = await loaded_job(ledger, count)
    host = await start_host(ledger)
    await host.commit(batch_of(plan, 0, count), [bad(seq, transient=False) for seq in range(count)])
    return plan.job


def test_pages_hold_each_task_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger(ManualClock())

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    def listed(*arguments: str) -> str:
        asked = ["dead-letters", *arguments]
        done = CliRunner().invoke(build_app(), asked, catch_exceptions=False, env={"COLUMNS": "200"})
        return done.output

    monkeypatch.setattr(session, "ledger_here", here)
    assert listed() == "No dead letters.\n"
    job = asyncio.run(with_failures(ledger, 3))
    assert f"colony dead-letters {job} --after {job}.1.1" in listed(str(job), "--limit", "2")
    last = listed("--limit", "2", "--after", f"{job}.1.1")
    assert "There are more" not in last
    letters = json.loads(listed("--json", "--after", f"{job}.1.0"))
    assert [(letter["job"], letter["step"], letter["seq"]) for letter in letters] == [(job, 1, 1), (job, 1, 2)]
    assert json.loads(listed("--json", "--limit", "2"))[-1]["seq"] == 1
    with pytest.raises(BadInput, match="JOB"):
        listed("--after", "1.2")
