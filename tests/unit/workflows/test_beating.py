"""Activities that end at once send no heartbeat; those that take longer send them well within the time-out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.config.model import Config
from colony.ledger.memory import MemoryLedger
from tests.eventually import assert_eventually
from workflows import activities_io, beating
from workflows.activities_io import IoActivities
from workflows.contracts import OpenJob
from workflows.policies import SILENCE_SECONDS


@pytest.fixture
def beats() -> list[int]:
    return []


@pytest.fixture
def environment(beats: list[int]) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: beats.append(1)
    return environment


async def test_a_short_activity_sends_none(environment: ActivityEnvironment, beats: list[int], tmp_path: Path) -> None:
    io = IoActivities(MemoryLedger(SystemClock()), Config(), [tmp_path])
    request = OpenJob(template="durable_tasks", input='{"tasks": 5}', key="k", workflow_id="w")
    assert (await environment.run(io.open_job, request)).job == 1

    @activity.defn
    async def short() -> None:
        async with beating.beating(5.0):
            pass

    await environment.run(short)
    assert beats == []


async def test_a_long_one_sends_some(
    environment: ActivityEnvironment, beats: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beating, "_BEAT_SECONDS", 0.01)

    @activity.defn
    async def long(done: Callable[[], bool]) -> None:
        async with beating.beating(30.0):
            await assert_eventually(done, 30)

    await environment.run(long, lambda: len(beats) > 2)


def test_the_first_is_well_before_the_time_out() -> None:
    for module in (beating, activities_io):
        assert 2 * module._BEAT_SECONDS < SILENCE_SECONDS  # pyright: ignore[reportPrivateUsage] -- what it is set to
