from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.gateway import BreakerConfig
from ray_app.gateway.breaker import Breaker, Pass, State, Verdict, verdict

CONFIG = BreakerConfig(failures=3, open_seconds=10.0, probes=2)


def entered(breaker: Breaker, now: float) -> Pass:
    given = breaker.enter(now)
    assert given is not None
    return given


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(CONFIG)
    results = [breaker.leave(entered(breaker, at), Verdict.BAD, at) for _ in range(3)]
    assert results == [False, False, True]
    return breaker


@pytest.mark.parametrize(
    ("outcome", "own", "says"),
    [
        ("ok", False, Verdict.GOOD),
        ("Unavailable", False, Verdict.BAD),
        ("DeadlineExceeded", False, Verdict.BAD),
        ("DeadlineExceeded", True, Verdict.NOTHING),
        ("ModelRefused", False, Verdict.NOTHING),
        ("PromptTooLong", False, Verdict.NOTHING),
        ("Overloaded", False, Verdict.NOTHING),
        ("BudgetSpent", False, Verdict.NOTHING),
        ("TruncatedAnswer", False, Verdict.NOTHING),
        ("NotPermitted", False, Verdict.NOTHING),
        ("cancelled", False, Verdict.NOTHING),
        ("ValueError", False, Verdict.NOTHING),
    ],
)
def test_what_counts(outcome: str, own: bool, says: Verdict) -> None:
    assert verdict(outcome, own_deadline=own) is says


def test_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(CONFIG)
    for says in (Verdict.BAD, Verdict.BAD, Verdict.GOOD, Verdict.BAD, Verdict.NOTHING, Verdict.BAD):
        assert not breaker.leave(entered(breaker, 0.0), says, 0.0)
    assert breaker.state(0.0) is State.CLOSED
    assert breaker.failures == 2
    assert breaker.leave(entered(breaker, 1.0), Verdict.BAD, 1.0)
    assert breaker.state(1.0) is State.OPEN
    assert breaker.enter(10.9) is None
    assert breaker.opens_in(5.0) == 6.0


def test_half_open_lets_a_few_probes_through_and_one_that_works_closes_it() -> None:
    breaker = opened()
    assert breaker.state(10.0) is State.HALF_OPEN
    probes = [entered(breaker, 10.0), entered(breaker, 10.0)]
    assert breaker.enter(10.0) is None
    assert not breaker.leave(probes[0], Verdict.GOOD, 11.0)
    assert breaker.state(11.0) is State.CLOSED
    assert breaker.failures == 0
    assert not breaker.leave(probes[1], Verdict.BAD, 12.0), "an era ago"
    assert breaker.failures == 0


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    breaker = opened()
    assert breaker.leave(entered(breaker, 10.0), Verdict.BAD, 12.0)
    assert breaker.state(21.9) is State.OPEN
    assert breaker.state(22.0) is State.HALF_OPEN
    assert breaker.openings == 2


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    breaker = opened()
    for _ in range(5):
        breaker.leave(entered(breaker, 10.0), Verdict.NOTHING, 10.0)
    assert breaker.state(10.0) is State.HALF_OPEN


def test_late_ends_of_calls_from_before_change_nothing() -> None:
    breaker = Breaker(CONFIG)
    early = [entered(breaker, 0.0) for _ in range(4)]
    for one in early[:3]:
        breaker.leave(one, Verdict.BAD, 0.0)
    assert not breaker.leave(early[3], Verdict.GOOD, 1.0)
    assert breaker.state(1.0) is State.OPEN
    assert not breaker.valid(early[3], 1.0)


def test_recovery_seen_by_others_closes_it_or_lets_it_probe() -> None:
    breaker = opened()
    breaker.recover(1.0, proven=False)
    assert breaker.state(1.0) is State.HALF_OPEN
    breaker.recover(1.0, proven=True)
    assert breaker.state(1.0) is State.CLOSED
    assert breaker.valid(Pass(-1), 1.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "wait", "fail"]), st.integers(0, 9), st.sampled_from(Verdict)),
    max_size=150,
)


@given(STEPS, st.integers(1, 3))
def test_never_more_probes_than_allowed_and_never_stuck(steps: list[tuple[str, int, Verdict]], probes: int) -> None:
    config = BreakerConfig(failures=3, open_seconds=10.0, probes=probes)
    breaker, now = Breaker(config), 0.0
    out: list[tuple[Pass, State]] = []
    for step, number, says in steps:
        before = breaker.state(now)
        if step == "enter":
            given = breaker.enter(now)
            if given is not None:
                out.append((given, before))
            assert (given is None) or before is not State.OPEN
            assert given is not None or before is not State.CLOSED
        elif step == "leave" and out:
            breaker.leave(out.pop(number % len(out))[0], says, now)
        elif step == "wait":
            now += number
        elif step == "fail":
            breaker.fail(now)
        state = breaker.state(now)
        if state is State.HALF_OPEN:
            assert sum(1 for given, since in out if since is State.HALF_OPEN and breaker.valid(given, now)) <= probes
        if state is State.CLOSED:
            assert breaker.failures < config.failures
    for given, _ in out:
        breaker.leave(given, Verdict.NOTHING, now)
    now += 10.0
    breaker.leave(entered(breaker, now), Verdict.GOOD, now)
    assert breaker.state(now) is State.CLOSED


def test_it_says_for_how_long_it_has_been_open() -> None:
    breaker = opened(5.0)
    assert breaker.open_for(7.0) == 2.0
    breaker.leave(entered(breaker, 15.0), Verdict.BAD, 15.0)
    assert breaker.open_for(16.0) == 11.0, "a probe that failed begins nothing new"
    breaker.leave(entered(breaker, 26.0), Verdict.GOOD, 26.0)
    assert breaker.open_for(27.0) == 0.0
