from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from colony.contracts import BatchReport
from workflows.contracts import Range, StepCursor, StepTally
from workflows.cursor import MAX_RANGES, absorb, join, next_generation, start, sweep, take


def ranges(*pairs: tuple[int, int]) -> tuple[Range, ...]:
    return tuple(Range(first=first, end=end) for first, end in pairs)


@given(tasks=st.integers(0, 20_000), parallel=st.integers(1, 16), seed=st.integers())
def test_every_task_is_handed_out_until_it_has_an_outcome(tasks: int, parallel: int, seed: int) -> None:
    chance = random.Random(seed)
    cursor = start(1, tasks)
    settled: set[int] = set()
    while True:
        cursor, handed = take(cursor, parallel)
        if handed is None:
            break
        if chance.random() < 0.3:
            cursor = absorb(cursor, handed, BatchReport(left=handed.size, left_reason="LostShard"))
            continue
        assert settled.isdisjoint(range(handed.first, handed.end))
        settled.update(range(handed.first, handed.end))
        cursor = absorb(cursor, handed, BatchReport(ok=handed.size, seconds=chance.uniform(0, 5)))
    assert len(settled) == tasks
    assert cursor.done == tasks


def test_a_retry_visits_only_ranges_with_failures_that_may_pass() -> None:
    cursor = start(1, 300)
    for report in (BatchReport(ok=100), BatchReport(ok=98, failed=2, transient=1), BatchReport(ok=100)):
        cursor, handed = take(cursor.model_copy(update={"size": 25, "seconds_per_task": 0.001}), 1)
        assert handed is not None
        cursor = absorb(cursor, handed, report)
    tally = StepTally(tasks=300, ok=298, failed=2, transient=1)
    again = next_generation(cursor, tally)
    assert again.generation == 1
    assert again.fresh == ranges((100, 200))
    assert again.failed == 1


def test_a_retry_visits_all_when_reports_were_lost() -> None:
    cursor = start(1, 300).model_copy(update={"retry": ranges((0, 10)), "passing": 1})
    again = next_generation(cursor, StepTally(tasks=300, ok=290, failed=10, transient=10))
    assert again.fresh == ranges((0, 300))


def test_a_sweep_visits_all_in_the_same_generation() -> None:
    swept = sweep(start(1, 50), StepTally(tasks=50, ok=40, failed=0, transient=0))
    assert (swept.generation, swept.sweeps, swept.fresh, swept.done) == (0, 1, ranges((0, 50)), 40)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 40)), max_size=900))
def test_joined_ranges_cover_the_same_seqs_and_stay_few(pairs: list[tuple[int, int]]) -> None:
    given_ranges = ranges(*((first, first + size) for first, size in pairs))
    joined = join(given_ranges)
    assert len(joined) <= MAX_RANGES
    assert all(left.end < right.first for left, right in itertools.pairwise(joined))
    for part in given_ranges:
        assert any(each.first <= part.first and part.end <= each.end for each in joined)


def test_a_cursor_survives_its_trip_through_json() -> None:
    cursor, _ = take(start(1, 5000), 4)
    assert StepCursor.model_validate_json(cursor.model_dump_json()) == cursor
