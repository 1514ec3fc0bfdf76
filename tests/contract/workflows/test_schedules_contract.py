"""Contract: schedules, the twin and those on a real Temporal server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from pydantic import ValidationError

from colony.config.endpoints import TemporalEndpoint
from colony.errors import AlreadyExists, BadInput, NotFound
from tests.eventually import assert_eventually
from tests.servers.temporal import temporal_server
from workflows.client import connect_later
from workflows.memory_schedules import MemorySchedules
from workflows.schedules import Schedules, TemporalSchedules, Timing

pytestmark = pytest.mark.contract

DAILY = Timing(template="review_analysis", cron="0 6 * * *", timezone="Europe/Berlin", overlap="buffer")
HOURLY = Timing(template="t", every=3600)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def schedule_server() -> AsyncGenerator[TemporalEndpoint]:
    async with temporal_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["memory", "temporal"])
def schedule_place(request: pytest.FixtureRequest) -> TemporalEndpoint | None:
    return request.getfixturevalue("schedule_server") if request.param == "temporal" else None


@pytest.fixture
async def schedules(schedule_place: TemporalEndpoint | None) -> Schedules:
    return MemorySchedules() if schedule_place is None else TemporalSchedules(await connect_later(schedule_place))


@pytest.fixture
def name() -> str:
    return f"s-{uuid.uuid4().hex[:8]}"


async def test_what_was_made_is_shown_and_listed(schedules: Schedules, name: str) -> None:
    await schedules.create(name, DAILY, {"source": "a.csv"})
    view = await schedules.show(name)
    assert (view.name, view.timing, view.paused, view.started) == (name, DAILY, False, 0)

    async def listed() -> bool:
        return [each.timing for each in await schedules.list() if each.name == name] == [DAILY]

    await assert_eventually(listed, 30)


async def test_pages_are_cut_by_name(schedules: Schedules, name: str) -> None:
    made = [f"{name}-{letter}" for letter in "cadb"]
    for each in made:
        await schedules.create(each, HOURLY, {})

    async def pages() -> bool:
        first = await schedules.list(2, after=name)
        rest = await schedules.list(3, after=first[-1].name) if first else []
        return [view.name for view in [*first, *rest]][:4] == sorted(made)

    await assert_eventually(pages, 30)


async def test_a_name_is_taken_once_and_free_when_it_is_gone(schedules: Schedules, name: str) -> None:
    await schedules.create(name, HOURLY, {})
    with pytest.raises(AlreadyExists):
        await schedules.create(name, DAILY, {})
    await schedules.delete(name)
    with pytest.raises(NotFound):
        await schedules.show(name)
    await schedules.create(name, DAILY, {})


async def test_pause_and_resume_keep_their_notes(schedules: Schedules, name: str) -> None:
    await schedules.create(name, HOURLY, {})
    await schedules.pause(name, "holidays")
    view = await schedules.show(name)
    assert (view.paused, view.note) == (True, "holidays")
    await schedules.resume(name, "back")
    view = await schedules.show(name)
    assert (view.paused, view.note) == (False, "back")


async def test_a_trigger_starts_a_job_of_the_name(schedules: Schedules, name: str) -> None:
    await schedules.create(name, HOURLY, {"a": 1})
    await schedules.trigger(name)

    async def started() -> bool:
        view = await schedules.show(name)
        return view.started == 1 and len(view.recent) == 1 and view.recent[0].startswith(f"{name}-")

    await assert_eventually(started, 30)


async def test_nobody_knows_a_schedule_that_is_not(schedules: Schedules, name: str) -> None:
    for act in (schedules.show, schedules.pause, schedules.resume, schedules.trigger, schedules.delete):
        with pytest.raises(NotFound):
            await act(name)


@pytest.mark.parametrize("wrong", ["", "a b", "-x", "x" * 101, "é"])
async def test_names_of_no_use_are_refused(schedules: Schedules, wrong: str) -> None:
    with pytest.raises(BadInput):
        await schedules.create(wrong, HOURLY, {})


async def test_the_server_refuses_a_cron_expression_of_no_use(schedule_server: TemporalEndpoint, name: str) -> None:
    schedules = TemporalSchedules(await connect_later(schedule_server))
    with pytest.raises(BadInput):
        await schedules.create(name, Timing(template="t", cron="99 6 * * *"), {})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"cron": "0 6 * * *", "every": 60},
        {"cron": "daily"},
        {"cron": "0 6 * * *", "timezone": "Mars/Olympus"},
        {"every": 0},
        {"every": 60, "overlap": "perhaps"},
    ],
)
def test_a_timing_says_one_thing_that_can_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Timing.model_validate({"template": "t", **wrong})
