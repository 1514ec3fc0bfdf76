"""The rate of one caller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.gateway import LimitsConfig
from ray_app.gateway.limits import AgentRates


def rates(rate: float = 10.0, burst: int = 20, most: int = 1000) -> AgentRates:
    return AgentRates(LimitsConfig(requests_per_second=rate, burst=burst), most=most)


def test_a_burst_is_taken_at_once_then_the_rate_holds() -> None:
    bucket = rates()
    assert [bucket.take("a", 5.0) for _ in range(20)] == [0.0] * 20
    assert bucket.take("a", 5.0) == pytest.approx(0.1)
    assert bucket.take("b", 5.0) == 0.0
    assert bucket.take("a", 5.1) == 0.0
    assert bucket.take("a", 5.1) == pytest.approx(0.1)


def test_a_refusal_costs_nothing() -> None:
    bucket = rates(rate=1, burst=1)
    assert bucket.take("a", 0.0) == 0.0
    assert [bucket.take("a", 0.5) for _ in range(100)] == [0.5] * 100
    assert bucket.take("a", 1.0) == 0.0


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), max_size=200),
)
def test_never_more_than_the_burst_and_the_rate(rate: float, burst: int, gaps: list[float]) -> None:
    bucket, now, taken = rates(rate, burst), 1_000_000.0, list[float]()
    for gap in gaps:
        now += gap
        if bucket.take("a", now) == 0.0:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-3


@given(rate=st.floats(0.01, 5000), burst=st.integers(1, 30), start=st.floats(0, 1e9))
def test_waiting_as_told_is_enough(rate: float, burst: int, start: float) -> None:
    bucket, now = rates(rate, burst), start
    for _ in range(burst + 20):
        wait = bucket.take("a", now)
        if wait:
            assert wait <= 1 / rate + 1e-6
            now += wait
            assert bucket.take("a", now) <= 1e-6


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 0.5)), max_size=400))
def test_memory_follows_those_who_asked_lately(calls: list[tuple[int, float]]) -> None:
    bucket, now = rates(rate=10, burst=1, most=50), 0.0
    for name, gap in calls:
        now += gap
        bucket.take(str(name), now)
        assert len(bucket) <= 50
    for step in range(60):
        bucket.take("last", now + 1 + step)
    assert len(bucket) <= 1
