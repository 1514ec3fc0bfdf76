from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager

import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import ManualClock, SystemClock
from colony.contracts import BatchReport
from colony.errors import Cancelled
from colony.ids import event_subject
from colony.messaging.port import Envelope
from ray_app.host import Host
from ray_app.places import Place, Places
from ray_app.turns import AGEING_SECONDS, TURN_SECONDS, Claim
from tests.eventually import assert_eventually
from tests.unit.ray_app import fleet_fixture
from tests.unit.ray_app.fleet_fixture import World

BEGUN: list[str] = []


class Noting:
    """Notes which job a task is of, then takes a turn and a bit."""

    actions: Mapping[str, str] = {"work": "waits"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        BEGUN.append(task.payload["job"])
        await asyncio.sleep(task.payload["seconds"])
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


@pytest.fixture(autouse=True)
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    BEGUN.clear()
    monkeypatch.setitem(fleet_fixture.CLASSES, "echo", Noting)


class TestPlaces:
    """The asyncio shell around `Turns`."""

    async def test_the_place_of_one_who_was_interrupted_goes_to_the_next(self) -> None:
        clock = ManualClock()
        places = Places(1, clock)
        held, gone, last = (Place(places, Claim(3, "", clock.monotonic()), clock) for _ in range(3))
        await held.take()
        waits = [asyncio.create_task(place.take()) for place in (gone, last)]
        await asyncio.sleep(0)
        assert places.waiting == 2
        held.give_back()
        # It has the place already, and has not run yet.
        waits[0].cancel()
        await asyncio.wait(waits)
        assert (gone.held, last.held, places.waiting) == (False, True, 0)

    async def test_a_turn_is_over_when_it_was_long_enough_and_a_worthy_one_waits(self) -> None:
        clock = ManualClock()
        places = Places(1, clock)
        held = Place(places, Claim(2, "", clock.monotonic()), clock)
        await held.take()
        clock.advance(60.0)
        assert not held.due(), "nobody waits"
        held.give_back()
        held = Place(places, Claim(2, "", clock.monotonic()), clock)
        await held.take()
        other = asyncio.create_task(Place(places, Claim(3, "", clock.monotonic()), clock).take())
        await asyncio.sleep(0)
        clock.advance(TURN_SECONDS)
        assert not held.due(), "a worse one waits"
        clock.advance(AGEING_SECONDS)
        best = asyncio.create_task(Place(places, Claim(1, "", clock.monotonic()), clock).take())
        await asyncio.sleep(0)
        assert held.due()
        other.cancel()
        best.cancel()
        await asyncio.wait([other, best])
        assert places.waiting == 0


class Jobs:
    """Starts batches, each of a job of its own, on one host."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host

    async def start(self, name: str, count: int, priority: int, tenant: str = "") -> asyncio.Task[BatchReport]:
        """Returns once it runs or stands in line."""
        payload: dict[str, object] = {"job": name, "seconds": TURN_SECONDS * 1.1}
        _, request = await self.world.job([payload] * count, key=name)
        task = asyncio.create_task(
            self.host.run_batch(request.model_copy(update={"priority": priority, "tenant": tenant}))
        )
        for _ in range(50):
            await asyncio.sleep(0)
        return task


@asynccontextmanager
async def one_place():
    world = World(concurrency=1, clock=SystemClock())
    await world.agents(echo=10)
    async with world.one_host() as host:
        yield Jobs(world, host)


async def test_a_better_job_overtakes_one_that_runs() -> None:
    async with one_place() as jobs:
        long = await jobs.start("long", 6, 5)
        await assert_eventually(lambda: BEGUN)
        short = await jobs.start("short", 3, 1)
        reports = await asyncio.gather(long, short)
    assert [report.ok for report in reports] == [6, 3]
    last = max(index for index, name in enumerate(BEGUN) if name == "short")
    assert BEGUN[:last].count("long") <= 2, "no more of it than ran when the better one came"


async def test_tenants_share_a_host_however_many_batches_each_has() -> None:
    async with one_place() as jobs:
        many = [await jobs.start(f"many-{number}", 3, 3, "many") for number in range(5)]
        one = await jobs.start("one", 4, 3, "one")
        reports = await asyncio.gather(one, *many)
    assert sum(report.ok for report in reports) == 19
    last = max(index for index, name in enumerate(BEGUN) if name == "one")
    assert last <= 10, f"a tenant with one batch waited for all of another's: {BEGUN}"


async def test_batches_of_one_tenant_take_turns_too() -> None:
    async with one_place() as jobs:
        long = await jobs.start("long", 8, 3)
        short = await jobs.start("short", 2, 3)
        await asyncio.gather(long, short)
    assert BEGUN.index("short") < 4
    assert "long" in BEGUN[BEGUN.index("short") :]


async def test_a_batch_that_stands_in_line_is_cancelled_at_once() -> None:
    async with one_place() as jobs:
        long = await jobs.start("long", 5, 1)
        waits = await jobs.start("waits", 5, 5)
        await jobs.world.messenger("worker").tell(event_subject("cancel", "waits"), Envelope(kind="cancel"))
        report = await waits
        assert not long.done()
        await long
    assert (report.cancelled, report.left_reason, report.left) == (True, Cancelled.__name__, 5)
    assert "waits" not in BEGUN
