"""`colony pause · resume · priority · approve`, with the twins of ledger and engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner, Result

from colony.clock import ManualClock
from colony.contracts import JobState
from colony.errors import NotFound
from colony.ledger.memory import MemoryLedger
from control import session
from control.cli import build_app
from workflows.memory_engine import MemoryEngine


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    ledger = MemoryLedger(ManualClock())

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    monkeypatch.setattr(session, "ledger_here", here)
    asyncio.run(ledger.open_job("key", "w", "t", (), None, {}))
    return ledger


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> MemoryEngine:
    engine = MemoryEngine()

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryEngine]:
        yield engine

    monkeypatch.setattr(session, "engine_here", here)
    asyncio.run(engine.start("t", {}, "w", "m"))
    return engine


def colony(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments), catch_exceptions=False)


def test_each_word_reaches_the_job_by_number_key_or_id(ledger: MemoryLedger, engine: MemoryEngine) -> None:
    assert "paused" in colony("pause", "1").output
    assert json.loads(colony("resume", "key", "--json").output) == {"job": 1, "workflow_id": "w", "paused": False}
    assert colony("priority", "w", "2").exit_code == 0
    assert [update for update, _ in engine.jobs["w"].updates] == ["pause", "resume", "set_priority"]
    assert engine.jobs["w"].updates[-1][1] == (2,)


def test_an_answer_names_who_gives_it(ledger: MemoryLedger, engine: MemoryEngine) -> None:
    assert "rejected" in colony("approve", "1", "--reject", "--comment", "too long", "--by", "ada").output
    name, (answer,) = engine.jobs["w"].updates[0]
    assert (name, answer) == ("approve", {"step": "", "approve": False, "comment": "too long", "by": "ada"})
    colony("approve", "1")
    answer = engine.jobs["w"].updates[1][1][0]
    assert answer["approve"] is True
    assert answer["by"]


def test_a_priority_is_1_to_5(ledger: MemoryLedger, engine: MemoryEngine) -> None:
    assert colony("priority", "1", "6").exit_code == 2
    assert engine.jobs["w"].updates == []


def test_a_job_that_has_ended_is_told_nothing(ledger: MemoryLedger, engine: MemoryEngine) -> None:
    asyncio.run(ledger.close_job(1, JobState.DONE))
    with pytest.raises(NotFound, match="done"):
        colony("pause", "1")
    assert engine.jobs["w"].updates == []


def test_a_workflow_in_code_has_no_row_and_hears_it_all_the_same(ledger: MemoryLedger, engine: MemoryEngine) -> None:
    asyncio.run(engine.start("opinions", {}, "mine", "m"))
    assert "Job mine is paused. Go on with: colony resume mine" in colony("pause", "mine").output
    answer = json.loads(colony("approve", "mine", "--json").output)
    assert (answer["job"], answer["workflow_id"]) == (None, "mine")
    assert [update for update, _ in engine.jobs["mine"].updates] == ["pause", "approve"]
    assert "Job mine is told to stop" in colony("cancel", "mine").output
    assert engine.jobs["mine"].ended
    for command in (("priority", "nobody", "1"), ("cancel", "nobody")):
        with pytest.raises(NotFound, match="no running job 'nobody'"):
            colony(*command)
