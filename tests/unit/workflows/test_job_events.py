"""What listeners on the bus hear of jobs; a bus that is away holds up none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.config.model import Config
from colony.contracts import JobState
from colony.errors import BadInput
from colony.ledger.memory import MemoryLedger
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.port import Envelope
from tests.eventually import assert_eventually
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.contracts import CloseJob, OpenJob
from workflows.monitor_contracts import OpenMonitor

GIVEN = {"tasks": 3, "priority": 2, "tenant": "acme"}


class Listening:
    """A ledger, a bus, and who listens to all events."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.bus, self.heard = MemoryLedger(SystemClock()), MemoryBus(), list[tuple[str, Envelope]]()
        self.messenger = MemoryMessenger(self.bus, role="worker")
        self.io = IoActivities(self.ledger, Config(), [folder], self.messenger)
        self.monitor = MonitorActivities(self.ledger, [folder], messenger=self.messenger)

    async def keep(self, subject: str, fact: Envelope) -> None:
        self.heard.append((subject, fact))

    async def hears(self, *subjects: str) -> list[Envelope]:
        await assert_eventually(lambda: len(self.heard) >= len(subjects), 30)
        assert [subject for subject, _ in self.heard] == list(subjects)
        return [fact for _, fact in self.heard]


@pytest.fixture
async def here(tmp_path: Path) -> Listening:
    found = Listening(tmp_path)
    await MemoryMessenger(found.bus, role="client").subscribe("colony.event.>", found.keep)
    return found


def opening(given: object, key: str = "k-1") -> OpenJob:
    return OpenJob(template="durable_tasks", input=json.dumps(given), key=key, workflow_id="mine")


async def test_a_listener_hears_a_job_begin_and_end(here: Listening) -> None:
    run = ActivityEnvironment().run
    plan = await run(here.io.open_job, opening(GIVEN))
    await run(here.io.close_job, CloseJob(job=plan.job, state=JobState.DONE))
    began, ended = await here.hears("colony.event.job-opened.k-1", "colony.event.job-closed.k-1")
    about = {"job": plan.job, "key": "k-1", "workflow_id": "mine", "template": "durable_tasks"}
    assert began.payload == {**about, "priority": 2, "tenant": "acme"}
    closed_at = ended.payload["closed_at"]
    assert ended.payload == {**about, "state": "done", "reason": "", "closed_at": closed_at}
    # Again, as after a worker died: listeners know it by its id.
    await run(here.io.close_job, CloseJob(job=plan.job, state=JobState.FAILED, reason="late"))
    await assert_eventually(lambda: len(here.heard) == 3, 30)
    assert here.heard[2][1].message_id == ended.message_id
    assert here.heard[2][1].payload["state"] == "done", "the ledger is the truth"


async def test_a_refused_job_is_heard_to_end(here: Listening) -> None:
    with pytest.raises(BadInput):
        await ActivityEnvironment().run(here.io.open_job, opening({"oops": 1}))
    (ended,) = await here.hears("colony.event.job-closed.k-1")
    assert ended.payload["state"] == "failed"
    assert "oops" in ended.payload["reason"]


async def test_a_monitor_is_heard_too(here: Listening) -> None:
    given = json.dumps({"sites": ["http://a.example/"], "tenant": "acme"})
    request = OpenMonitor(input=given, key="k-2", workflow_id="watch", now=0.0)
    await ActivityEnvironment().run(here.monitor.open_monitor, request)
    (began,) = await here.hears("colony.event.job-opened.k-2")
    assert (began.payload["template"], began.payload["tenant"]) == ("website_monitor", "acme")


async def test_a_bus_that_is_away_fails_no_job(here: Listening) -> None:
    here.bus.available = False
    run = ActivityEnvironment().run
    plan = await run(here.io.open_job, opening(GIVEN))
    await run(here.io.close_job, CloseJob(job=plan.job, state=JobState.DONE))
    assert (await here.ledger.job("mine")).state is JobState.DONE
    assert here.heard == []
