"""A change of watched sites whose end nobody heard of is made again: nothing is there twice, nothing is an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.errors import BadInput, NotFound
from colony.ledger.memory import MemoryLedger
from workflows.activities_monitor import MonitorActivities
from workflows.monitor_contracts import ChangeSites, OpenMonitor

CHANGES: list[Mapping[str, Any]] = [
    {"add": ["http://new.example/"]},
    {"add": ["http://new.example/", "http://new.example/"], "interval": {"two": 90}},
    {"add": [{"url": "http://new.example/", "name": "new"}], "remove": ["one"], "pause": ["two"]},
    {"remove": ["one"], "resume": ["two"]},
]
OPENED = '{"sites": [{"url": "http://one.example/", "name": "one"}, {"url": "http://two.example/", "name": "two"}]}'


def attempt(number: int) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=number)
    return environment


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_made_again_is_the_same_change(tmp_path: Path, change: Mapping[str, Any]) -> None:
    ledger = MemoryLedger(SystemClock())
    activities = MonitorActivities(ledger, [tmp_path])
    opening = OpenMonitor(input=OPENED, key="key", workflow_id="monitor", now=1_000.0)
    job = (await attempt(1).run(activities.open_monitor, opening)).job
    request = ChangeSites(job=job, change=dict(change), now=2_000.5)
    first = await attempt(1).run(activities.change_sites, request)
    sites = await ledger.sites(job)
    second = await attempt(2).run(activities.change_sites, request)
    assert await ledger.sites(job) == sites
    assert (second.sites, second.gap) == (first.sites, first.gap)


async def test_what_cannot_have_been_done_before_is_refused_in_any_attempt(tmp_path: Path) -> None:
    ledger = MemoryLedger(SystemClock())
    activities = MonitorActivities(ledger, [tmp_path])
    opening = OpenMonitor(input=OPENED, key="key", workflow_id="monitor", now=1_000.0)
    job = (await attempt(1).run(activities.open_monitor, opening)).job
    for number in (1, 2):
        with pytest.raises(NotFound, match="'pause'"):
            await attempt(number).run(
                activities.change_sites, ChangeSites(job=job, change={"pause": ["three"]}, now=2_000.5)
            )
        with pytest.raises(BadInput):
            await attempt(number).run(
                activities.change_sites, ChangeSites(job=job, change={"add": ["no url"]}, now=2_000.5)
            )
    with pytest.raises(NotFound, match="'remove'"):
        await attempt(1).run(activities.change_sites, ChangeSites(job=job, change={"remove": ["three"]}, now=2_000.5))
