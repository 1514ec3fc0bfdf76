"""`colony schedule`, with the twin of the schedules."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner, Result

from colony.config.built_in import BUILT_IN
from colony.errors import BadInput, NotFound
from control import session
from control.cli import build_app
from control.commands import schedule
from workflows.memory_schedules import MemorySchedules
from workflows.startable import startable

TEMPLATE = "review_analysis"
GIVEN = {"source": "a.csv"}


@pytest.fixture
def schedules(monkeypatch: pytest.MonkeyPatch) -> MemorySchedules:
    schedules = MemorySchedules()

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemorySchedules]:
        yield schedules

    monkeypatch.setattr(session, "schedules_here", here)
    monkeypatch.setattr(schedule, "_startable", lambda: startable(BUILT_IN))
    return schedules


def colony(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["schedule", *arguments], catch_exceptions=False, env={"COLUMNS": "80"})


def made(name: str = "nightly", *more: str) -> Result:
    return colony("create", name, "--template", TEMPLATE, "--input", json.dumps(GIVEN), *(more or ("--every", "60")))


def test_a_schedule_from_its_start_to_its_end(schedules: MemorySchedules) -> None:
    assert "every 60 s" in made().output
    assert "nightly" in colony("list").output
    assert "is paused" in colony("pause", "nightly", "--note", "holidays").output
    assert "paused" in colony("list").output
    assert "holidays" in colony("show", "nightly").output
    colony("resume", "nightly")
    colony("trigger", "nightly")
    assert schedules.started == [(TEMPLATE, GIVEN)]
    shown = json.loads(colony("show", "nightly", "--json").output)
    assert (shown["started"], shown["paused"], shown["timing"]["every"]) == (1, False, 60)
    colony("delete", "nightly")
    assert json.loads(colony("list", "--json").output) == []
    with pytest.raises(NotFound):
        colony("show", "nightly")


def test_lists_fit_a_narrow_terminal(schedules: MemorySchedules) -> None:
    made("n" * 100, "--cron", "*/5 6-18 1,15 1-12 mon-fri", "--timezone", "America/Argentina/Buenos_Aires")
    assert max(len(line) for line in colony("list").output.splitlines()) <= 80


@pytest.mark.parametrize(
    "wrong",
    [
        ("--every", "60", "--cron", "0 6 * * *"),
        ("--cron", "tomorrow"),
        ("--every", "60", "--overlap", "perhaps"),
        ("--cron", "0 6 * * *", "--timezone", "Mars"),
        ("--every", "60", "--input", "[1]"),
        ("--every", "60", "--input", "{"),
        ("--every", "60", "--input", '{"source": "a.csv", "wrong": 1}'),
    ],
)
def test_what_cannot_be_is_refused(schedules: MemorySchedules, wrong: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        made("nightly", *wrong)


def test_a_monitor_is_scheduled_and_what_nobody_knows_is_not(schedules: MemorySchedules) -> None:
    colony("create", "watch", "--template", "website_monitor", "--cron", "0 6 * * *")
    assert json.loads(colony("show", "watch", "--json").output)["timing"]["template"] == "website_monitor"
    with pytest.raises(NotFound, match="nothing"):
        colony("create", "other", "--template", "nothing", "--every", "60")
