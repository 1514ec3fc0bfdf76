"""Quotas of providers over any 60 seconds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colony.config.gateway import BackendConfig, GatewayConfig
from colony.ids import Id
from ray_app.gateway.governor import WINDOW, Governor
from ray_app.gateway.plan import GatewayPlan


def governor(requests: int | None = None, tokens: int | None = None) -> Governor:
    config = BackendConfig(kind="scripted", requests_per_minute=requests, tokens_per_minute=tokens)
    return Governor(GatewayPlan({Id("p"): config, Id("free"): BackendConfig(kind="scripted")}, {}))


def test_a_backend_without_a_quota_never_waits() -> None:
    book = governor()
    assert {book.delay("free", 10**9, 0.0) for _ in range(1000)} == {0.0}
    assert book.delay("nobody", 5, 0.0) == 0.0
    book.settle("free", 10**9, 1, 0.0)


def test_requests_wait_until_the_oldest_leaves_the_window() -> None:
    book = governor(requests=2)
    assert [book.delay("p", 1, 0.0), book.delay("p", 1, 30.0)] == [0.0, 0.0]
    wait = book.delay("p", 1, 40.0)
    assert 20.0 < wait <= 20.5
    assert book.delay("p", 1, 40.0 + wait) == 0.0
    assert book.delay("p", 1, 40.0 + wait) == pytest.approx(30.0 - (wait - 20.0) + 0.25, abs=0.3)


def test_tokens_count_as_reserved_and_then_as_used() -> None:
    book = governor(tokens=100)
    assert book.delay("p", 80, 0.0) == 0.0
    assert book.delay("p", 30, 0.0) > 0
    book.settle("p", 80, 10, 5.0)
    assert book.delay("p", 90, 5.0) == 0.0
    book.settle("p", 90, 90, 6.0)
    wait = book.delay("p", 10, 7.0)
    assert 58.0 <= wait <= 58.5
    assert book.delay("p", 10, 7.0 + wait) == 0.0


def test_what_is_larger_than_the_quota_never_goes() -> None:
    book = governor(tokens=100)
    assert book.delay("p", 101, 0.0) == math.inf
    assert book.delay("p", 100, 0.0) == 0.0


def test_backends_of_one_account_share_its_quota() -> None:
    account = BackendConfig(kind="scripted", requests_per_minute=2, tokens_per_minute=100, quota="team")
    own = account.model_copy(update={"quota": ""})
    book = Governor(GatewayPlan({Id("a"): account, Id("b"): account, Id("team"): own}, {}))
    assert book.delay("a", 60, 0.0) == 0.0
    assert book.delay("b", 60, 0.0) > 0
    book.settle("a", 60, 10, 1.0)
    assert book.delay("b", 60, 1.0) == 0.0
    assert book.delay("a", 1, 2.0) > 0
    assert book.delay("team", 60, 2.0) == 0.0, "the name of a backend is no account"
    assert (book.sharing("b"), book.sharing("team"), book.sharing("new")) == (("a", "b"), ("team",), ("new",))
    book.hold("a", 30.0, 200.0)
    assert book.delay("b", 1, 200.0) == pytest.approx(30.0)
    assert book.delay("team", 1, 200.0) == 0.0
    state = book.state(200.0)
    assert state["a"] == state["b"]
    assert (state["a"]["held_seconds"], state["team"]["held_seconds"]) == (30.0, 0.0)


def test_one_account_has_one_set_of_numbers() -> None:
    backend = BackendConfig(kind="scripted", requests_per_minute=2, quota="team")
    other = backend.model_copy(update={"requests_per_minute": 3})
    assert GatewayConfig(backends={Id("a"): backend, Id("b"): backend})
    with pytest.raises(ValidationError, match="different numbers for the quota 'team'"):
        GatewayConfig(backends={Id("a"): backend, Id("b"): other})


def test_a_429_holds_everything_back_for_as_long_as_it_says() -> None:
    book = governor(requests=10)
    for name in ("p", "free"):
        book.hold(name, 12.0, 100.0)
        book.hold(name, 1.0, 101.0)
        book.hold(name, math.inf, 101.0)
        assert book.delay(name, 1, 102.0) == pytest.approx(10.0)
        assert book.delay(name, 1, 112.0) == 0.0
    assert book.state(112.0) == {
        "p": {
            "requests_per_minute": 10,
            "requests": 1,
            "tokens_per_minute": None,
            "tokens": 0,
            "tokens_reserved": 0,
            "held_seconds": 0.0,
        }
    }


@given(st.data())
def test_no_60_seconds_hold_more_than_the_quota(data: st.DataObject) -> None:
    """Whenever the provider books the tokens of a call: at its start, at its end or somewhere between."""
    requests, tokens = data.draw(st.integers(1, 10)), data.draw(st.integers(10, 200))
    book, now = governor(requests, tokens), data.draw(st.floats(0, 1e6))
    under_way: list[tuple[float, int]] = []
    started: list[float] = []
    calls: list[tuple[float, float, int]] = []
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.3, 5.0, 59.9, 60.0, 61.0]))
        if under_way and data.draw(st.booleans()):
            start, reserved = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            used = data.draw(st.integers(0, reserved))
            book.settle("p", reserved, used, now)
            calls.append((start, now, used))
        else:
            wanted = data.draw(st.integers(0, tokens))
            if book.delay("p", wanted, now) == 0.0:
                started.append(now)
                under_way.append((now, wanted))
    calls += [(start, now, reserved) for start, reserved in under_way]
    for first in started:
        assert sum(first <= other < first + WINDOW for other in started) <= requests
    share = data.draw(st.floats(0, 1))
    booked = [(start + (end - start) * share, used) for start, end, used in calls]
    for first, _ in booked:
        assert sum(used for at, used in booked if first <= at < first + WINDOW) <= tokens


@given(st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_waiting_as_told_ends_and_memory_is_bounded(gaps: list[float]) -> None:
    book, now = governor(requests=3, tokens=50), 0.0
    for gap in gaps:
        now += gap
        for _ in range(6):
            wait = book.delay("p", 20, now)
            if wait == 0.0:
                break
            now += wait
        assert wait == 0.0
        book.settle("p", 20, 15, now)
        quota: Any = book._quotas["p"]  # pyright: ignore[reportPrivateUsage]  # what must stay small
        assert len(quota._recent_tokens._slices) <= 4
