"""Decisions about watched sites: states, damping, beats, lanes, history."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.ids import Id
from colony.sites import NO_ANSWER, CheckRow, SiteMemory, SiteRow, SiteSpec, SiteState, bucket_of, bucket_seconds
from workflows.monitoring import (
    DAY,
    MAX_ROUND,
    Seen,
    Turn,
    first_due,
    gap_of,
    judge,
    lane_of,
    next_due,
    percentile,
    pick,
    take,
    uptime_of,
    wake_in,
)

LEVELS = {SiteState.NEW: 0, SiteState.UP: 0, SiteState.DEGRADED: 1, SiteState.DOWN: 2}
seen_levels = st.lists(st.integers(0, 2), max_size=60)
bounds = st.integers(1, 5)


def spec(**fields: Any) -> SiteSpec:
    return SiteSpec.model_validate({"site": "a", "url": "http://a.example/", **fields})


def facts(**fields: Any) -> dict[str, Any]:
    return {"site": "a", "answered": True, "status": 200, "seconds": 0.1, "digest": "d", "keyword": True, **fields}


def run(site: SiteSpec, levels: list[int], start: SiteMemory | None = None) -> list[Turn]:
    memory, turns = start or SiteMemory(), list[Turn]()
    for at, level in enumerate(levels):
        turns.append(take(site, memory, Seen(level, "x" if level else "", 0.1, 200, "d"), float(at)))
        memory = turns[-1].memory
    return turns


@given(seen_levels, bounds, bounds)
def test_a_state_moves_only_after_a_streak_that_all_points_the_same_way(
    levels: list[int], failures: int, recoveries: int
) -> None:
    turns = run(spec(failures=failures, recoveries=recoveries), levels)
    before = SiteState.NEW
    for at, turn in enumerate(turns):
        after = turn.memory.state
        if LEVELS[after] > LEVELS[before]:
            streak = levels[at + 1 - failures : at + 1]
            assert len(streak) == failures
            assert min(streak) == LEVELS[after] > LEVELS[before]
        if LEVELS[after] < LEVELS[before]:
            streak = levels[at + 1 - recoveries : at + 1]
            assert len(streak) == recoveries
            assert max(streak) == LEVELS[after]
        before = after


@given(seen_levels, bounds, bounds)
def test_alerts_open_and_close_in_turn_and_each_move_is_told_once(
    levels: list[int], failures: int, recoveries: int
) -> None:
    is_open, before = False, SiteState.NEW
    for turn in run(spec(failures=failures, recoveries=recoveries), levels):
        after = turn.memory.state
        moved = after is not before and (before, after) != (SiteState.NEW, SiteState.UP)
        assert [notice.kind for notice in turn.notices] == ([f"site-{after}"] if moved else [])
        assert turn.closed == (moved and after is SiteState.UP)
        assert (turn.opened is not None) == (moved and after is not SiteState.UP)
        assert not turn.closed or is_open
        is_open = (is_open or turn.opened is not None) and not turn.closed
        assert is_open == (after in (SiteState.DEGRADED, SiteState.DOWN))
        before = after


@given(st.integers(2, 5), st.integers(1, 30))
def test_a_site_that_flaps_faster_than_its_bounds_stays_what_it_was(failures: int, rounds: int) -> None:
    flapping = ([2] * (failures - 1) + [0]) * rounds
    turns = run(spec(failures=failures), [0, *flapping])
    assert {turn.memory.state for turn in turns} == {SiteState.UP}
    assert not any(turn.notices for turn in turns)


def test_a_site_that_stays_bad_is_down_and_needs_two_good_checks() -> None:
    states = [turn.memory.state.value for turn in run(spec(), [0, 2, 2, 2, 2, 0, 2, 0, 0, 1, 1, 1])]
    assert states == ["up", "up", "up", "down", "down", "down", "down", "down", "up", "up", "up", "degraded"]


@given(seen_levels)
def test_since_is_when_the_state_began(levels: list[int]) -> None:
    before, since = SiteState.NEW, 0.0
    for at, turn in enumerate(run(spec(), levels)):
        if turn.memory.state is not before:
            before, since = turn.memory.state, float(at)
        assert turn.memory.since == since
        assert turn.memory.checked_at == at


@pytest.mark.parametrize(
    ("site", "found", "level", "problem"),
    [
        ({}, facts(), 0, ""),
        ({}, facts(status=399), 0, ""),
        ({}, facts(status=404), 2, "status 404"),
        ({"status": 401}, facts(status=401), 0, ""),
        ({"status": 401}, facts(status=200), 2, "status 200 instead of 401"),
        ({"keyword": "k"}, facts(keyword=False), 2, "keyword"),
        ({"slow_seconds": 1}, facts(seconds=1.5), 1, "slow: 1.5 s"),
        ({}, facts(certificate_ends=13 * DAY), 1, "ends in 13.0 days"),
        ({}, facts(certificate_ends=15 * DAY), 0, ""),
        ({}, {"answered": False, "problem": "timeout", "detail": "10 s"}, 2, "no answer in time: 10 s"),
        ({}, {"answered": False, "problem": "certificate"}, 2, "certificate is not valid"),
        ({}, {"answered": False, "problem": "something new"}, 2, "no answer"),
        ({}, {}, 2, "no answer"),
    ],
)
def test_how_a_check_is_judged(site: dict[str, Any], found: dict[str, Any], level: int, problem: str) -> None:
    seen = judge(spec(**site), found, 0.0)
    assert seen.level == level
    assert problem in seen.problem
    assert bool(seen.problem) == (level > 0)


def test_the_page_of_an_error_is_no_change_of_content() -> None:
    assert judge(spec(), facts(status=500), 0.0).digest == ""
    assert judge(spec(keyword="k"), facts(keyword=False), 0.0).digest == "d"


def test_a_change_of_content_is_told_where_that_is_wanted() -> None:
    memory = SiteMemory(state=SiteState.UP, digest="old")
    new = Seen(0, "", 0.1, 200, "new")
    assert take(spec(), memory, new, 9.0).notices == ()
    turn = take(spec(tell_changes=True), memory, new, 9.0)
    assert [notice.kind for notice in turn.notices] == ["site-changed"]
    assert (turn.memory.digest, turn.memory.changed_at) == ("new", 9.0)
    silent = take(spec(tell_changes=True), memory, Seen(2, "x", None), 9.0)
    assert (silent.memory.digest, silent.memory.changed_at, silent.notices) == ("old", 0.0, ())
    first = take(spec(tell_changes=True), SiteMemory(), new, 9.0)
    assert (first.memory.changed_at, first.notices) == (0.0, ())


@given(st.floats(0, 1e6), st.floats(1, 86_400), st.floats(0, 1e6))
def test_the_next_check_is_on_the_beat_and_in_the_future(due: float, interval: float, late: float) -> None:
    now = due + late
    after = next_due(due, interval, now)
    assert after > now - 1e-3
    assert after <= now + interval + 1e-3
    beats = (after - due) / interval
    assert beats == pytest.approx(round(beats), abs=1e-3)
    assert round(beats) >= 1


@given(st.integers(1, 1000), st.floats(1, 86_400))
def test_first_checks_are_spread_within_an_interval_and_ten_seconds(sites: int, interval: float) -> None:
    dues = [first_due(sites, index, interval, 100.0) for index in range(sites)]
    assert dues == sorted(dues)
    assert dues[0] == 100.0
    assert dues[-1] < 100.0 + min(interval, 10.0)


@given(st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1e6), st.floats(1, 86_400))
def test_rounds_keep_their_distance(due: float | None, now: float, shortest: float) -> None:
    gap = gap_of(shortest)
    assert 0 < gap <= 6.0
    assert gap <= shortest / 4 or gap == 0.25
    wait = wake_in(due, now, gap)
    assert (wait is None) == (due is None)
    assert wait is None or wait >= gap


rows = st.lists(
    st.builds(
        lambda number, seconds, problem: SiteRow(
            spec(site=f"s{number}"), SiteMemory(seconds=seconds, problem=problem), float(number)
        ),
        st.integers(0, 999),
        st.one_of(st.none(), st.floats(0, 10)),
        st.sampled_from(["", "no answer"]),
    ),
    max_size=50,
)


@given(rows, st.sets(st.integers(0, 1)))
def test_sites_go_to_free_lanes_in_their_order(due: list[SiteRow], free: set[int]) -> None:
    chosen = pick(due, tuple(free))
    assert set(chosen) <= free
    for lane, found in chosen.items():
        assert found == [row for row in due if lane_of(row) == lane]
    assert sum(map(len, chosen.values())) == sum(lane_of(row) in free for row in due)


def test_a_round_is_bounded() -> None:
    many = [SiteRow(spec(site=f"s{number}"), SiteMemory(), 0.0) for number in range(MAX_ROUND + 5)]
    assert len(pick(many, (0, 1))[0]) == MAX_ROUND


@given(st.floats(0.0001, 60))
def test_buckets_are_narrow(seconds: float) -> None:
    upper = bucket_seconds(bucket_of(seconds))
    assert upper >= seconds * 0.999
    assert upper <= max(0.001, seconds * 1.19)


@given(st.lists(st.one_of(st.none(), st.floats(0.001, 50)), min_size=1, max_size=200))
def test_numbers_of_a_history(latencies: list[float | None]) -> None:
    history = [CheckRow(Id("a"), 1, bucket_of(each), 1, int(each is not None), each or 0.0) for each in latencies]
    answers = sorted(each for each in latencies if each is not None)
    numbers = uptime_of(history)
    assert numbers.checks == len(latencies)
    assert numbers.uptime == pytest.approx(len(answers) / len(latencies))
    if not answers:
        assert (numbers.mean, numbers.p95) == (None, None)
        return
    exact = answers[max(0, -(-len(answers) * 95 // 100) - 1)]
    assert numbers.mean == pytest.approx(sum(answers) / len(answers))
    assert numbers.p95 is not None
    assert exact * 0.999 <= numbers.p95 <= max(0.001, exact * 1.19)


def test_no_history_has_no_numbers() -> None:
    assert uptime_of([]) == (0, None, None, None)
    assert percentile([CheckRow(Id("a"), 1, NO_ANSWER, 3, 0, 0.0)], 0.5) is None
