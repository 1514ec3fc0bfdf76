"""Commands about jobs that have no row yet: kept while Temporal is away, or started a moment ago."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.errors import ColonyError, NotFound, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.ledger.submissions import Submission, SubmissionState
from control import session, why_facts
from control.api.outbox import Outbox
from control.cli import build_app
from control.why_facts import Asked, explained
from workflows.memory_engine import MemoryEngine


class Stack(SimpleNamespace):
    ledger: MemoryLedger
    engine: MemoryEngine


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Temporal is away, and a job waits for it."""
    found = Stack(ledger=MemoryLedger(ManualClock()), engine=MemoryEngine())
    found.engine.available = False

    @asynccontextmanager
    async def ledger_here() -> AsyncGenerator[MemoryLedger]:
        yield found.ledger

    @asynccontextmanager
    async def engine_here() -> AsyncGenerator[MemoryEngine]:
        yield found.engine

    async def failure_here(workflow_id: str) -> ColonyError | None:
        return await found.engine.failure(workflow_id)

    @asynccontextmanager
    async def away() -> AsyncGenerator[Client]:
        raise Unavailable("Temporal does not answer.")
        yield

    async def explain(name: str) -> why_facts.Answered:
        return await explained(found.ledger, Asked(away, None), name)

    monkeypatch.setattr(session, "ledger_here", ledger_here)
    monkeypatch.setattr(session, "engine_here", engine_here)
    monkeypatch.setattr(session, "failure_here", failure_here)
    monkeypatch.setattr(why_facts, "explain", explain)
    asked = Submission(workflow_id="Kept-1", mark="m", template="review_analysis", input="{}", digest="d")
    asyncio.run(found.ledger.submit(asked))
    return found


def start(stack: Stack) -> None:
    """Temporal is back."""

    async def run() -> None:
        stack.engine.available = True
        (waiting,) = await stack.ledger.open_submissions(1)
        await Outbox(stack.ledger, stack.engine).start(waiting)

    asyncio.run(run())


def colony(*arguments: str) -> str:
    found = CliRunner().invoke(build_app(), list(arguments), catch_exceptions=False)
    assert found.exit_code == 0
    return found.output


def test_a_job_that_is_kept_is_listed_and_told_about(stack: Stack) -> None:
    listed = colony("jobs")
    assert "Kept-1" in listed
    assert "accepted" in listed
    (found,) = json.loads(colony("jobs", "--json"))
    assert (found["job"], found["workflow_id"], found["state"]) == (None, "Kept-1", "accepted")
    assert json.loads(colony("job", "Kept-1", "--json")) == found
    assert "Temporal to answer" in colony("job", "Kept-1")
    why = colony("why", "Kept-1")
    assert "Job Kept-1 (review_analysis) waits for" in why
    assert "since" in why
    found = json.loads(colony("why", "Kept-1/clean/3", "--json"))
    assert (found["job"], found["state"], found["task"]) == (None, "accepted", "clean/3")
    assert [reason["code"] for reason in found["reasons"]] == ["engine"]
    with pytest.raises(NotFound):
        colony("why", "nobody")


def test_a_job_that_is_kept_can_be_given_up(stack: Stack) -> None:
    assert "Job Kept-1 is cancelled" in colony("cancel", "Kept-1")
    kept = asyncio.run(stack.ledger.submission("Kept-1"))
    assert kept is not None
    assert kept.state is SubmissionState.CANCELLED
    assert json.loads(colony("jobs", "--json")) == []
    assert json.loads(colony("why", "Kept-1", "--json"))["reasons"][0]["code"] == "ended"
    with pytest.raises(NotFound, match="ended"):
        colony("cancel", "Kept-1")


def test_a_job_that_was_started_waits_for_a_worker(stack: Stack) -> None:
    start(stack)
    (found,) = json.loads(colony("jobs", "--json"))
    assert (found["state"], bool(found["key"])) == ("opening", True)
    assert "a worker to open it" in colony("job", "Kept-1")
    assert "cancelled" in colony("cancel", "Kept-1")
    assert stack.engine.jobs["Kept-1"].ended
    assert json.loads(colony("job", "Kept-1", "--json"))["state"] == "cancelled"
    asyncio.run(stack.ledger.open_job("key", "Kept-1", "review_analysis", (), None, {}))
    (found,) = json.loads(colony("jobs", "--json"))
    assert (found["job"], found["state"]) == (1, "running"), "from here its row is what counts"


def test_pausing_one_says_what_it_waits_for(stack: Stack) -> None:
    with pytest.raises(NotFound, match="waits for Temporal"):
        colony("pause", "Kept-1")


def test_one_that_was_started_hears_what_it_is_told_though_it_has_no_row(stack: Stack) -> None:
    start(stack)
    assert "Job Kept-1 is paused" in colony("pause", "Kept-1")
    assert json.loads(colony("priority", "Kept-1", "1", "--json")) == {
        "job": None,
        "workflow_id": "Kept-1",
        "priority": None,
    }
    assert stack.engine.jobs["Kept-1"].updates == [("pause", ()), ("set_priority", (1,))]
