"""Identical requests under way are one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from colony.errors import BadInput, DeadlineExceeded, Unavailable
from ray_app.gateway.single_flight import Emit, SingleFlight, single_flight
from tests.eventually import assert_eventually


class Work:
    """Counts its calls; each waits until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.calls += 1
        number = self.calls
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return f"answer {number}"


@pytest.fixture
async def flights() -> AsyncGenerator[SingleFlight[str]]:
    async with single_flight() as found:
        yield found


def joined(flights: SingleFlight[str], work: Work, count: int) -> list[asyncio.Task[tuple[str, bool]]]:
    return [asyncio.create_task(flights.run(b"k", work)) for _ in range(count)]


async def test_one_call_answers_all(flights: SingleFlight[str]) -> None:
    work = Work()
    tasks = joined(flights, work, 5)
    await assert_eventually(lambda: flights.joined == 4)
    assert flights.under_way(b"k")
    work.go.set()
    assert await asyncio.gather(*tasks) == [("answer 1", False), *[("answer 1", True)] * 4]
    assert len(flights) == 0
    assert await flights.run(b"k", work) == ("answer 2", False)


async def test_other_keys_do_not_wait(flights: SingleFlight[str]) -> None:
    slow, quick = Work(), Work()
    quick.go.set()
    task = asyncio.create_task(flights.run(b"slow", slow))
    assert await flights.run(b"quick", quick) == ("answer 1", False)
    slow.go.set()
    assert await task == ("answer 1", False)


async def test_the_first_may_leave(flights: SingleFlight[str]) -> None:
    work = Work()
    first, second, third = joined(flights, work, 3)
    await assert_eventually(lambda: flights.joined == 2)
    first.cancel()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go.set()
    assert await third == ("answer 1", True)
    assert (work.calls, work.cancelled) == (1, 0)


async def test_work_nobody_waits_for_is_cancelled_and_begun_anew(flights: SingleFlight[str]) -> None:
    work = Work()
    tasks = joined(flights, work, 3)
    await assert_eventually(lambda: work.calls == 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(flights) == 0
    work.go.set()
    assert await flights.run(b"k", work) == ("answer 2", False)
    await assert_eventually(lambda: work.cancelled == 1)


async def test_an_error_is_everybodys_and_is_not_kept(flights: SingleFlight[str]) -> None:
    work = Work()
    work.error = BadInput("no")
    tasks = joined(flights, work, 3)
    await assert_eventually(lambda: flights.joined == 2)
    work.go.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [BadInput] * 3
    work.error = None
    assert await flights.run(b"k", work) == ("answer 2", False)


async def test_an_error_of_the_first_alone_lets_the_others_try_once_more(flights: SingleFlight[str]) -> None:
    calls = 0
    go = asyncio.Event()

    async def work() -> str:
        nonlocal calls
        calls += 1
        await go.wait()
        if calls == 1:
            raise DeadlineExceeded("mine")
        return "late"

    tasks = [asyncio.create_task(flights.run(b"k", work, own=(DeadlineExceeded,))) for _ in range(4)]
    await assert_eventually(lambda: flights.joined == 3)
    go.set()
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, DeadlineExceeded)
    assert sorted(others, key=str) == [("late", False), ("late", True), ("late", True)]  # pyright: ignore
    assert calls == 2


async def test_those_who_stream_get_every_piece_from_the_first(flights: SingleFlight[str]) -> None:
    steps = [asyncio.Event() for _ in range(3)]

    async def work(emit: Emit) -> str:
        for number, step in enumerate(steps):
            await step.wait()
            emit({"n": number})
        return "whole"

    async def stream() -> list[int]:
        with flights.join(b"k", work) as (flight, _):
            return [piece["n"] async for piece in flight.pieces()]

    early = asyncio.create_task(stream())
    await asyncio.sleep(0)
    steps[0].set()
    steps[1].set()
    await asyncio.sleep(0)
    late = asyncio.create_task(stream())
    with flights.join(b"k", work) as (flight, shared):
        waiting = asyncio.create_task(flight.result())
        await assert_eventually(lambda: flight.streams)
        steps[2].set()
        assert (await waiting, shared) == ("whole", True)
    assert (await early, await late) == ([0, 1, 2], [0, 1, 2])


async def test_a_stream_that_breaks_breaks_for_all_after_its_pieces(flights: SingleFlight[str]) -> None:
    async def work(emit: Emit) -> str:
        emit({"n": 1})
        await asyncio.sleep(0)
        raise Unavailable("gone")

    seen: list[int] = []

    async def stream() -> None:
        with flights.join(b"k", work) as (flight, _):
            async for piece in flight.pieces():
                seen.append(piece["n"])  # noqa: PERF401 - what came before the error is wanted

    with pytest.raises(Unavailable):
        await stream()
    assert seen == [1]


async def test_closing_ends_the_work_and_tells_those_who_wait() -> None:
    work = Work()
    async with single_flight() as flights:
        tasks = joined(flights, work, 2)
        await assert_eventually(lambda: work.calls == 1)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [Unavailable] * 2
    assert work.cancelled == 1


async def test_a_flight_that_has_just_ended_is_not_joined(flights: SingleFlight[str]) -> None:
    async def late(_: Emit) -> str:
        raise DeadlineExceeded("late")

    with flights.join(b"k", late):
        await asyncio.sleep(0)  # it has ended; what follows its end has not run yet
        assert not flights.under_way(b"k")
        with flights.join(b"k", late) as (again, shared):
            assert not shared
            with pytest.raises(DeadlineExceeded):
                await again.result()
    assert len(flights) == 0
