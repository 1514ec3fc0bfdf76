from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from colony.errors import LostShard, Permanent, Unavailable
from colony.messaging.handling import HandlerPool, error_reply, raise_answered_error
from colony.messaging.outage import OutageBuffer
from colony.messaging.port import Envelope
from tests.eventually import assert_eventually


def pool_of(handler, **options):
    counters: Counter[str] = Counter()
    options.setdefault("concurrency", 2)
    return HandlerPool(handler, counters=counters, wall=time.time, **options), counters


async def test_at_most_concurrency_at_once_and_everything_is_handled():
    running, most, done = 0, 0, []

    async def handler(subject, envelope):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        done.append(envelope.payload["n"])

    pool, _ = pool_of(handler, concurrency=3)
    for n in range(50):
        pool.take("a", Envelope(kind="x", payload={"n": n}), None)
    await assert_eventually(lambda: len(done) == 50)
    assert sorted(done) == list(range(50))
    assert most == 3


async def test_a_handler_that_cancels_itself_does_not_stop_the_queue():
    answers, seen = [], []

    async def handler(subject, envelope):
        seen.append(envelope.payload["n"])
        if envelope.payload["n"] % 2:
            raise asyncio.CancelledError
        return Envelope(kind="ok")

    pool, counters = pool_of(handler, concurrency=1)
    for n in range(10):
        pool.take("a", Envelope(kind="x", payload={"n": n}), answers.append)
    await assert_eventually(lambda: len(answers) == 10)
    assert seen == list(range(10))
    assert counters["handler_failed"] == 5
    assert [answer.error for answer in answers][:2] == ["", "DeadlineExceeded"]


async def test_too_many_waiting_are_dropped_and_counted():
    release = asyncio.Event()

    async def handler(subject, envelope):
        await release.wait()

    pool, counters = pool_of(handler, concurrency=1, max_waiting=5)
    for _ in range(20):
        pool.take("a", Envelope(kind="x"), None)
    assert counters["dropped_full"] == 15
    release.set()
    await pool.finish(5)


async def test_nobody_waits_for_what_is_past_its_deadline():
    handled = []

    async def handler(subject, envelope):
        handled.append(envelope.kind)

    pool, counters = pool_of(handler)
    pool.take("a", Envelope(kind="late", deadline=time.time() - 1), None)
    pool.take("a", Envelope(kind="early", deadline=time.time() + 60), None)
    await pool.finish(5)
    assert handled == ["early"]
    assert counters["expired"] == 1


async def test_finish_ends_handlers_that_do_not():
    cancelled = []

    async def handler(subject, envelope):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    pool, _ = pool_of(handler, concurrency=2)
    for _ in range(5):
        pool.take("a", Envelope(kind="x"), None)
    await asyncio.sleep(0)
    await pool.finish(0.01)
    assert len(cancelled) == 2


def test_errors_travel_by_name():
    with pytest.raises(LostShard, match="not mine"):
        raise_answered_error(error_reply(LostShard("not mine")))
    with pytest.raises(Permanent):
        raise_answered_error(error_reply(ZeroDivisionError("x" * 100_000)))
    with pytest.raises(Permanent):
        raise_answered_error(Envelope(kind="error", error="os.system", error_message="x"))
    raise_answered_error(Envelope(kind="ok"))


def test_the_outage_buffer_is_bounded_in_bytes_and_age():
    buffer = OutageBuffer(limit=10, seconds=5)
    buffer.put("a", b"12345", now=0)
    buffer.put("b", b"12345", now=3)
    with pytest.raises(Unavailable):
        buffer.put("c", b"1", now=4)
    buffer.put("d", b"1", now=6)
    assert buffer.take_all(now=7) == [("b", b"12345"), ("d", b"1")]
    assert len(buffer) == 0
    buffer.put("e", b"1234567890", now=8)
