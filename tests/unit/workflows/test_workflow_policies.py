from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.contracts import MAX_BATCH, AgentType
from colony.ids import Id
from colony.jobs import StepKind, StepPlan
from workflows.policies import (
    SILENCE_SECONDS,
    STALL_SECONDS,
    batch_size,
    budget_exceeded,
    dispatch_options,
    io_options,
    leave_delay,
    pace,
)

STEP = StepPlan(number=1, name=Id("work"), kind=StepKind.MAP, over=0, agent_type=AgentType("probe"), action=Id("noop"))


@given(
    left=st.integers(1, 10_000_000),
    gone=st.integers(0, 10_000_000),
    parallel=st.integers(1, 256),
    seconds=st.floats(0, 1000, allow_nan=False),
    last=st.integers(0, MAX_BATCH),
)
def test_a_batch_is_bounded_in_tasks_time_and_growth(
    left: int, gone: int, parallel: int, seconds: float, last: int
) -> None:
    size = batch_size(left, left + gone, parallel, seconds, last)
    assert 1 <= size <= min(left, MAX_BATCH)
    if seconds > 0 and last > 0:
        assert size <= 4 * last
        assert size == 1 or size * seconds <= 5.0
    assert size <= max(200, -(-left // parallel))


def test_small_steps_are_spread_over_the_window() -> None:
    assert batch_size(620, 620, 8, 0.001, 100) == 78
    assert batch_size(4, 4, 4, 0.001, 100) == 1
    assert batch_size(400, 100_000, 4, 0.001, 1000) == 200, "splinters cost more than they bring"


def test_quick_tasks_reach_full_batches_soon() -> None:
    sizes = [batch_size(1_000_000, 1_000_000, 4, 0.0, 0)]
    while sizes[-1] < MAX_BATCH:
        sizes.append(batch_size(1_000_000, 1_000_000, 4, 0.0001, sizes[-1]))
    assert sizes == [200, 800, 1000]


def test_pace_forgets_half_of_the_past() -> None:
    assert pace(0, 10, 1.0) == 0.1
    assert pace(0.1, 10, 3.0) == 0.2
    assert pace(0.1, 0, 3.0) == 0.1


def test_budget() -> None:
    assert not budget_exceeded(0, 0, 0)
    assert not budget_exceeded(1, 10, 0.1)
    assert budget_exceeded(2, 10, 0.1)
    assert budget_exceeded(1, 10_000, 0)


@given(
    reason=st.sampled_from(["Overloaded", "LostShard", "Unavailable", "x"]),
    attempt=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
)
def test_leave_delays_are_short_enough_to_recover_in_ten_seconds(reason: str, attempt: int, jitter: float) -> None:
    assert 0.05 <= leave_delay(reason, attempt, jitter) <= 5.0


def test_every_activity_has_every_time_out() -> None:
    for options in (io_options(), io_options(10), dispatch_options(STEP)):
        assert options["schedule_to_start_timeout"].total_seconds() == STALL_SECONDS
        assert options["heartbeat_timeout"].total_seconds() == SILENCE_SECONDS
        assert options["start_to_close_timeout"] < options["schedule_to_close_timeout"]


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_refusal_that_says_when_to_come_back_is_obeyed_within_reason(jitter: float) -> None:
    assert 20.0 <= leave_delay("Overloaded", 1, jitter, 20.0) <= 25.0
    assert leave_delay("Overloaded", 1, jitter, 1e9) <= 75.0
    assert leave_delay("Overloaded", 9, jitter, 0.1) == leave_delay("Overloaded", 9, jitter)
