"""`colony memory`, with the twin of the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner, Result

from colony.clock import ManualClock
from colony.config.model import Config
from colony.errors import BadInput
from colony.ledger.memory import MemoryLedger
from colony.llm.port import Caller
from colony.memory.agent_memory import local_memory
from control import memory_view, session
from control.cli import build_app
from tests.contract.ledger.fleet_of_one import open_job


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    ledger = MemoryLedger(ManualClock())

    @asynccontextmanager
    async def ledger_here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    @asynccontextmanager
    async def embedder_here() -> AsyncGenerator[tuple[memory_view.Embedder, Config]]:
        yield memory_view.embedder_of(Config(), None), Config()

    monkeypatch.setattr(session, "ledger_here", ledger_here)
    monkeypatch.setattr(memory_view, "embedder_here", embedder_here)
    return ledger


def colony(*words: str) -> Result:
    return CliRunner().invoke(build_app(), ["memory", *words])


def fill(ledger: MemoryLedger) -> list[str]:
    async def add() -> list[str]:
        job = await open_job(ledger, "garden")
        memory = local_memory(ledger, Caller(agent="research-1", agent_type="research", job=job.key))
        return [
            await memory.add("Slugs eat young lettuce at night.", scope="shared", label="passage"),
            await memory.add("Mulch keeps the soil moist in summer.", scope="shared"),
            await memory.add("Beans fix nitrogen.", label="post"),
        ]

    return asyncio.run(add())


def test_scopes_and_entries_are_listed(ledger: MemoryLedger) -> None:
    assert "Nothing is remembered" in colony("list").output
    fill(ledger)
    sizes = json.loads(colony("list", "--json").stdout)
    assert [(size["scope"].split(":")[0], size["entries"], size["embedder"]) for size in sizes] == [
        ("shared", 2, "hashing-1"),
        ("job", 1, "hashing-1"),
    ]
    assert "shared" in colony("list").output
    assert "Mulch keeps the soil" in colony("list", "shared").output
    # A job by its number and by its workflow id.
    for name in ("job:1", "job:garden", sizes[1]["scope"]):
        assert [entry["text"] for entry in json.loads(colony("list", name, "--json").stdout)] == ["Beans fix nitrogen."]
    assert "Nothing found" in colony("list", "job:unknown").output


def test_entries_are_found(ledger: MemoryLedger) -> None:
    fill(ledger)
    found = json.loads(colony("search", "what eats the lettuce", "--json").stdout)
    assert found[0]["text"] == "Slugs eat young lettuce at night."
    assert found[0]["score"] > 0.2
    both = json.loads(colony("search", "beans", "--scope", "shared", "--scope", "job:garden", "--json").stdout)
    assert both[0]["text"] == "Beans fix nitrogen."
    assert json.loads(colony("search", "lettuce", "--label", "post", "--json").stdout) == []
    assert "Slugs" in colony("search", "slugs").output


def test_what_is_named_is_forgotten(ledger: MemoryLedger) -> None:
    first, _, _ = fill(ledger)
    assert colony("forget", "shared", "--id", first).output == "Forgot 1 entry.\n"
    assert json.loads(colony("forget", "shared", "--json").stdout) == {"forgotten": 1}
    assert json.loads(colony("forget", "--older-than", "1", "--json").stdout) == {"forgotten": 0}
    ledger._tables.clock.advance(2 * 86_400)  # type: ignore[attr-defined]
    assert "Forgot 1 entry" in colony("forget", "--older-than", "1").output


@pytest.mark.parametrize(
    "words",
    [("forget",), ("forget", "--id", "ab" * 16), ("forget", "shared", "--id", "x"), ("list", "world"), ("search", " ")],
)
def test_wrong_questions_are_refused(ledger: MemoryLedger, words: tuple[str, ...]) -> None:
    fill(ledger)
    assert isinstance(colony(*words).exception, BadInput)
    assert len(asyncio.run(ledger.memory_scopes())) == 2
