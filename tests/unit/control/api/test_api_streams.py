"""Server-sent events of a job."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from colony.contracts import JobState
from control.api import streams
from tests.eventually import assert_eventually
from tests.unit.control.api.api_of_twins import ApiOfTwins, problem
from tests.unit.control.api.test_api_jobs import open_job


class Looks:
    """How often each stream has looked at its job and told what it saw."""

    def __init__(self) -> None:
        self.of: Counter[object] = Counter()

    async def tell(self, count: int = 1) -> None:
        """Wait until so many streams have told what is true now: the look under way may have begun before."""
        before = self.of.copy()
        await assert_eventually(lambda: sum(self.of[each] >= before[each] + 2 for each in self.of) >= count)


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found, pause = Looks(), streams.Streams._pause

    async def counted(self: streams.Streams) -> None:
        found.of[asyncio.current_task()] += 1
        await pause(self)

    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(streams.Streams, "_pause", counted)
    return found


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_a_stream_tells_each_change_and_ends_with_the_job(api: ApiOfTwins, looks: Looks) -> None:
    api.engine.available = False
    await api.submit(id="first")
    reading = asyncio.create_task(api.client.get("/v1/jobs/first/events"))
    await looks.tell()
    api.engine.available = True
    (waiting,) = await api.ledger.open_submissions(1)
    await api.parts.outbox.start(waiting)
    await looks.tell()
    job = await open_job(api, "first")
    await looks.tell()
    await api.ledger.close_job(job, JobState.DONE)
    answer = await asyncio.wait_for(reading, 5)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [(kind, data["state"]) for kind, data in events(answer.text)]
    assert told == [("progress", "accepted"), ("progress", "opening"), ("progress", "running"), ("end", "done")]


async def test_a_stream_tells_of_a_pause(api: ApiOfTwins, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ASK_SECONDS", 0.0)
    await api.submit(id="first")
    job = await open_job(api, "first")
    reading = asyncio.create_task(api.client.get("/v1/jobs/first/events"))
    await looks.tell()
    await api.client.post("/v1/jobs/first/pause")
    await looks.tell()
    await api.ledger.close_job(job, JobState.DONE)
    told = [data["now"] for _, data in events((await asyncio.wait_for(reading, 5)).text)]
    assert [now and now["paused"] for now in told] == [False, True, None]


async def test_streams_end_with_the_process(api: ApiOfTwins, looks: Looks) -> None:
    await open_job(api, "first")
    reading = asyncio.create_task(api.client.get("/v1/jobs/first/events"))
    await looks.tell()
    api.parts.stopping.set()
    assert [kind for kind, _ in events((await asyncio.wait_for(reading, 5)).text)] == ["progress"]


async def test_streams_are_bounded(api: ApiOfTwins, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_job(api, "first")
    most = api.parts.config.api.streams
    readers = [asyncio.create_task(api.client.get("/v1/jobs/first/events")) for _ in range(most)]
    await looks.tell(most)
    found = problem(await api.client.get("/v1/jobs/first/events"), 503, "Overloaded")
    assert found["retry_after"] >= 1
    await api.ledger.close_job(1, JobState.DONE)
    await asyncio.wait_for(asyncio.gather(*readers), 30)
    assert (await api.client.get("/v1/jobs/first/events")).status_code == 200


def ids(text: str) -> list[str]:
    return [line[4:] for line in text.splitlines() if line.startswith("id: ")]


async def test_a_listener_that_comes_back_hears_what_changed_since(api: ApiOfTwins, looks: Looks) -> None:
    job = await open_job(api, "first")
    first = asyncio.create_task(api.client.get("/v1/jobs/first/events"))
    await looks.tell()
    api.parts.stopping.set()
    (seen,) = ids((await asyncio.wait_for(first, 5)).text)
    api.parts.stopping.clear()
    again = asyncio.create_task(api.client.get("/v1/jobs/first/events", headers={"Last-Event-ID": seen}))
    await looks.tell()
    await api.ledger.close_job(job, JobState.DONE)
    answer = await asyncio.wait_for(again, 5)
    assert [kind for kind, _ in events(answer.text)] == ["end"], "what was heard is not told again"
    (end,) = ids(answer.text)
    gone = await api.client.get("/v1/jobs/first/events", headers={"Last-Event-ID": end})
    assert (gone.status_code, gone.text) == (204, ""), "who heard the end has nothing to come back for"
    missed = await api.client.get("/v1/jobs/first/events", headers={"Last-Event-ID": seen})
    assert [kind for kind, _ in events(missed.text)] == ["end"]
    other = await api.client.get("/v1/jobs/first/events", headers={"Last-Event-ID": "of another server"})
    assert ids(other.text) == [end]
