from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import Clock, ManualClock
from colony.contracts import BatchReport
from colony.errors import Cancelled
from colony.ids import event_subject
from colony.messaging.port import Envelope
from ray_app import host_parts
from ray_app.host import Host
from ray_app.places import Place, Places
from ray_app.turns import AGEING_SECONDS, TURN_SECONDS, Claim
from tests.unit.ray_app import fleet_fixture
from tests.unit.ray_app.fleet_fixture import World

BEGUN: list[str] = []
INSIDE: list[tuple[str, asyncio.Future[None]]] = []
"""(job, what lets it go on) of the tasks inside agents, in the order they began."""
MADE: list[Places] = []


class Noting:
    """Notes which job a task is of, then waits until the test lets it go on."""

    actions: Mapping[str, str] = {"work": "waits"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        job = task.payload["job"]
        goes_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        BEGUN.append(job)
        INSIDE.append((job, goes_on))
        try:
            await goes_on
        finally:
            INSIDE.remove((job, goes_on))
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


class NotedPlaces(Places):
    """Lets the test see who stands in line."""

    def __init__(self, count: int, clock: Clock) -> None:
        super().__init__(count, clock)
        MADE.append(self)


@pytest.fixture(autouse=True)
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_fixture.CLASSES, "echo", Noting)
    monkeypatch.setattr(host_parts, "Places", NotedPlaces)


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
    """Starts batches, each of a job of its own, on one host, and ends their tasks one by one."""

    def __init__(self, world: World, host: Host, clock: ManualClock) -> None:
        self.world = world
        self.host = host
        self.clock = clock

    async def start(
        self, name: str, count: int, priority: int = 3, tenant: str = "", first: str = ""
    ) -> asyncio.Task[BatchReport]:
        """Returns once it runs or stands in line. Its first task may have another name."""
        payloads: list[dict[str, object]] = [{"job": name} for _ in range(count)]
        payloads[0]["job"] = first or name
        _, request = await self.world.job(payloads, key=name)
        before = self._here()
        request = request.model_copy(update={"priority": priority, "tenant": tenant})
        task = asyncio.create_task(self.host.run_batch(request))
        await self.until(lambda: self._here() > before)
        return task

    async def end_one(self, number: int = 0) -> None:
        """A task that had a whole turn ends."""
        self.clock.advance(TURN_SECONDS * 1.1)
        INSIDE[number][1].set_result(None)
        await asyncio.sleep(0)

    async def until(self, check: Callable[[], object]) -> None:
        """Let the host go on until then, without a task that ends."""
        for _ in range(2_000):
            if check():
                return
            # What is committed is looked for every few milliseconds.
            self.clock.advance(0.0001)
            await asyncio.sleep(0)
        raise AssertionError(f"it never came to that; begun: {BEGUN}, inside: {INSIDE}")

    async def finish(self, *tasks: asyncio.Task[BatchReport]) -> list[BatchReport]:
        """End one task after the other until these batches are done."""
        while not all(task.done() for task in tasks):
            await self.until(lambda: INSIDE or all(task.done() for task in tasks))
            if INSIDE:
                await self.end_one()
        return [task.result() for task in tasks]

    def _here(self) -> int:
        return len(INSIDE) + MADE[0].waiting


@asynccontextmanager
async def a_host(places: int):
    for noted in (BEGUN, INSIDE, MADE):
        noted.clear()
    clock = ManualClock()
    world = World(concurrency=places, clock=clock, lease=3600.0)
    await world.agents(echo=10)
    async with world.one_host() as host:
        yield Jobs(world, host, clock)


async def test_a_better_job_overtakes_one_that_runs() -> None:
    async with a_host(1) as jobs:
        long = await jobs.start("long", 6, 5)
        short = await jobs.start("short", 3, 1)
        reports = await jobs.finish(long, short)
    assert [report.ok for report in reports] == [6, 3]
    assert BEGUN == ["long"] + ["short"] * 3 + ["long"] * 5


async def test_tenants_share_a_host_however_many_batches_each_has() -> None:
    async with a_host(1) as jobs:
        many = [await jobs.start(f"many-{number}", 3, 3, "many") for number in range(5)]
        one = await jobs.start("one", 4, 3, "one")
        reports = await jobs.finish(one, *many)
    assert sum(report.ok for report in reports) == 19
    last = max(index for index, name in enumerate(BEGUN) if name == "one")
    assert last <= 10, f"a tenant with one batch waited for all of another's: {BEGUN}"


async def test_batches_of_one_tenant_take_turns_too() -> None:
    async with a_host(1) as jobs:
        long = await jobs.start("long", 8, 3)
        short = await jobs.start("short", 2, 3)
        await jobs.finish(long, short)
    assert BEGUN.index("short") < 4
    assert "long" in BEGUN[BEGUN.index("short") :]


async def test_a_batch_that_stands_in_line_is_cancelled_at_once() -> None:
    async with a_host(1) as jobs:
        long = await jobs.start("long", 5, 1)
        waits = await jobs.start("waits", 5, 5)
        await jobs.world.messenger("worker").tell(event_subject("cancel", "waits"), Envelope(kind="cancel"))
        await jobs.until(waits.done)
        report = waits.result()
        assert not long.done()
        await jobs.finish(long)
    assert (report.cancelled, report.left_reason, report.left) == (True, Cancelled.__name__, 5)
    assert "waits" not in BEGUN


async def test_a_batch_with_nothing_left_does_not_stand_in_line_to_end() -> None:
    async with a_host(1) as jobs:
        done = await jobs.start("done", 1)
        other = await jobs.start("other", 3)
        await jobs.end_one()
        await jobs.until(done.done)
        assert not other.done()
        await jobs.finish(other)


async def test_a_batch_that_gave_its_place_away_asks_for_another_though_the_rest_of_it_is_slow() -> None:
    async with a_host(2) as jobs:
        mixed = await jobs.start("mixed", 9, first="slow")
        await jobs.until(lambda: len(INSIDE) == 2)
        other = await jobs.start("other", 2)
        while len(BEGUN) < 11:
            await jobs.end_one(number=1)
            await jobs.until(lambda: len(INSIDE) == 2)
        assert INSIDE[0][0] == "slow"
        await jobs.finish(mixed, other)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(min_value=1, max_value=4),
    sizes=st.lists(st.integers(min_value=1, max_value=7), min_size=1, max_size=4),
    ends=st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=8),
)
def test_no_place_is_free_while_tasks_wait(count: int, sizes: list[int], ends: list[int]) -> None:
    """Whichever task ends next, whatever else is in a slow agent meanwhile."""

    async def run() -> None:
        async with a_host(count) as jobs:
            batches = [await jobs.start(f"job-{number}", size) for number, size in enumerate(sizes)]
            for ended in range(sum(sizes)):
                inside = min(count, sum(sizes) - ended)
                await jobs.until(lambda inside=inside: len(INSIDE) == inside)
                await jobs.end_one(ends[ended % len(ends)] % inside)
            assert sum(report.ok for report in await jobs.finish(*batches)) == sum(sizes)

    asyncio.run(run())
