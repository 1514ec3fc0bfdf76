from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colony.clock import ManualClock
from ray_app.gateway.queue import MOST_COST
from ray_app.turns import AGEING_SECONDS, TURN_SECONDS, Claim, Turns, cost_of_turn, rank_of


def claim(priority: int, tenant: str = "a", since: float = 0.0) -> Claim:
    return Claim(priority, tenant, since)


def drained(turns: Turns, now: float = 0.0) -> list[str]:
    names: list[str] = []
    while (name := turns.end(now)) is not None:
        names.append(name)
    return names


def test_places_are_free_until_they_are_taken() -> None:
    turns = Turns(2)
    assert turns.ask("one", claim(5), 0.0)
    assert turns.ask("two", claim(5), 0.0)
    assert not turns.ask("three", claim(1), 0.0)
    assert len(turns) == 1
    assert turns.end(0.0) == "three"
    assert turns.end(0.0) is None
    assert turns.free == 1


def test_better_priorities_go_first_and_those_who_leave_are_forgotten() -> None:
    turns = Turns(0)
    for name, priority in (("low", 5), ("normal", 3), ("gone", 1), ("high", 1)):
        turns.ask(name, claim(priority), 0.0)
    turns.withdraw("gone")
    assert drained(turns) == ["high", "normal", "low"]


def test_tenants_of_one_priority_take_turns() -> None:
    turns = Turns(0)
    for number in range(3):
        turns.ask(f"many-{number}", claim(3, "many"), 0.0)
    turns.ask("one", claim(3, "one"), 0.0)
    assert drained(turns) == ["many-0", "one", "many-1", "many-2"]


def test_a_lane_that_held_its_place_long_pays_for_it() -> None:
    assert [cost_of_turn(seconds) for seconds in (0.0, TURN_SECONDS, 1.0, 3.5, 1e9)] == [1, 1, 2, 4, MOST_COST]
    turns = Turns(0)
    slow = claim(3, "slow")
    slow.charge(2.0, 2.0)
    turns.ask("slow", slow, 2.0)
    for number in range(4):
        turns.ask(f"quick-{number}", claim(3, "quick", since=2.0), 2.0)
    assert drained(turns, 2.0) == ["quick-0", "quick-1", "slow", "quick-2", "quick-3"]


def test_the_age_of_a_batch_is_the_time_in_which_it_got_nothing() -> None:
    old = claim(5, "old", since=0.0)
    assert [old.level(now) for now in (0.0, 4.9, 5.0, 14.0, 20.0, 1e6)] == [5, 5, 4, 3, 1, 1]
    old.charge(9.0, 9.0)
    assert [old.level(now) for now in (0.0, 13.9, 14.0, 29.0)] == [5, 5, 4, 1]


def test_batches_of_one_tenant_overtake_those_that_had_more_than_they_are_younger() -> None:
    turns = Turns(0)
    served = claim(3, since=0.0)
    served.charge(2.0, 4.0)
    turns.ask("served", served, 4.0)
    turns.ask("younger", claim(3, since=1.9), 4.0)
    turns.ask("youngest", claim(3, since=2.1), 4.0)
    assert drained(turns, 4.0) == ["younger", "served", "youngest"]


def test_the_age_of_a_batch_lifts_all_its_turns() -> None:
    old = claim(5, "old", since=0.0)
    turns = Turns(0)
    turns.ask("old", old, 100.0)
    turns.ask("fresh", claim(2, "fresh", since=100.0), 100.0)
    assert drained(turns, 100.0) == ["old", "fresh"]


def test_a_place_is_kept_against_worse_claims_until_they_have_aged() -> None:
    turns = Turns(0)
    turns.ask("waits", claim(4, "b", since=0.0), 0.0)
    best = claim(1, "a", since=0.0)
    assert not turns.outranked(best, 0.0)
    assert not turns.outranked(best, 3 * AGEING_SECONDS - 0.1)
    assert turns.outranked(best, 3 * AGEING_SECONDS)
    assert turns.outranked(claim(4), 0.0), "of one class, all take turns"


def test_nobody_outranks_where_nobody_waits() -> None:
    assert not Turns(1).outranked(claim(5), 0.0)


def test_in_line_for_an_agent_a_better_one_overtakes_only_if_it_comes_soon() -> None:
    waiting = claim(5, since=0.0).rank(0.0)
    assert rank_of(1, 4 * AGEING_SECONDS - 0.1) < waiting
    assert rank_of(1, 4 * AGEING_SECONDS + 0.1) > waiting


@dataclass
class Ask:
    """One turn somebody waits for."""

    claim: Claim
    seconds: float


class Bench:
    """One place, and everybody who wants it: each turn moves the clock by its length."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.turns = Turns(0)
        self.asks: dict[str, Ask] = {}
        self.named = 0

    def claim(self, priority: int, tenant: str) -> Claim:
        return Claim(priority, tenant, self.clock.monotonic())

    def ask(self, claim: Claim, seconds: float) -> str:
        self.named += 1
        name = f"{claim.tenant}-{self.named}"
        self.asks[name] = Ask(claim, seconds)
        assert not self.turns.ask(name, claim, self.clock.monotonic())
        return name

    def step(self) -> str:
        """The next turn begins and ends."""
        name = self.turns.end(self.clock.monotonic())
        assert name is not None
        ask = self.asks.pop(name)
        self.clock.advance(ask.seconds)
        ask.claim.charge(ask.seconds, self.clock.monotonic())
        return name

    def ahead(self, claim: Claim) -> int:
        """Cost of what the tenant of a claim waits for that is no younger."""
        waiting = (ask.claim for ask in self.asks.values())
        return sum(
            cost_of_turn(other.last_turn)
            for other in waiting
            if other.tenant == claim.tenant and other.arrived <= claim.arrived
        )


TENANTS = ("old", "b", "c", "d")
FRESH = st.tuples(
    st.sampled_from(TENANTS),
    st.integers(min_value=1, max_value=5),
    st.floats(min_value=0.2, max_value=1.5),
)


@settings(max_examples=100, deadline=None)
@given(
    priority=st.integers(min_value=1, max_value=5),
    length=st.floats(min_value=0.05, max_value=3.0),
    needs=st.integers(min_value=1, max_value=12),
    arrivals=st.lists(st.lists(FRESH, min_size=1, max_size=4), min_size=1, max_size=12),
)
def test_an_old_long_job_is_not_starved_by_fresh_short_ones(
    priority: int, length: float, needs: int, arrivals: list[list[tuple[str, int, float]]]
) -> None:
    """Before each turn fresh batches come, more than are ever served, also of its own tenant, for ever."""
    bench = Bench()
    old = bench.claim(priority, "old")
    born = bench.clock.monotonic()
    steps = 0
    for _ in range(needs):
        mine = bench.ask(old, length)
        bound = (bench.ahead(old) + 1) * len(TENANTS)
        first_class = 0
        while True:
            for tenant, fresh, seconds in arrivals[steps % len(arrivals)]:
                bench.ask(bench.claim(fresh, tenant), seconds)
            steps += 1
            first_class += old.level(bench.clock.monotonic()) == 1
            if bench.step() == mine:
                break
            assert first_class <= bound, "more turns of others in the first class than are promised"
    # It rises once, not for each turn: after that it only waits for its turns.
    waited = bench.clock.monotonic() - born - old.used
    most = (MOST_COST * 2 + 2) * len(TENANTS) * 1.5
    assert waited <= (priority - 1) * AGEING_SECONDS + needs * most


@settings(max_examples=60, deadline=None)
@given(
    priority=st.integers(min_value=1, max_value=5),
    lanes=st.integers(min_value=1, max_value=200),
    seconds=st.floats(min_value=0.1, max_value=60.0),
    idle=st.floats(min_value=0.0, max_value=30.0),
    fresh=st.integers(min_value=1, max_value=5),
    tenant=st.sampled_from(TENANTS),
)
def test_a_batch_that_had_many_lanes_at_once_waits_no_longer_for_it(
    priority: int, lanes: int, seconds: float, idle: float, fresh: int, tenant: str
) -> None:
    """All its lanes end their turns in one moment; from then on others that could go first come for ever."""
    bench = Bench()
    old = bench.claim(priority, "old")
    bench.clock.advance(idle + seconds)
    for _ in range(lanes):
        old.charge(seconds, bench.clock.monotonic())
    began = bench.clock.monotonic()
    mine = bench.ask(old, TURN_SECONDS)
    while True:
        bench.ask(bench.claim(fresh, tenant), TURN_SECONDS)
        if bench.step() == mine:
            break
        # In real time, whatever it was charged: it rises, then its tenant's turn comes, and it is the tenant's oldest.
        waited = bench.clock.monotonic() - began
        assert waited <= (priority - 1) * AGEING_SECONDS + 2 * (MOST_COST + 1) * TURN_SECONDS


@pytest.mark.parametrize("tenant", ["old", "other"])
def test_a_batch_of_the_last_priority_ends_beside_endless_first_ones(tenant: str) -> None:
    """In seconds: turns of a tenth of a second, a batch that needs 50, and always more that would go first."""
    bench = Bench()
    old = bench.claim(5, "old")
    for _ in range(50):
        mine = bench.ask(old, TURN_SECONDS)
        while True:
            bench.ask(bench.claim(1, tenant), TURN_SECONDS)
            if bench.step() == mine:
                break
    total = bench.clock.monotonic() - old.since
    # Four classes to rise; then between two of its turns at most one of the others, as few came before it.
    assert 4 * AGEING_SECONDS <= total <= 4 * AGEING_SECONDS + 50 * 4 * TURN_SECONDS + TURN_SECONDS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=MOST_COST), min_size=2, max_size=4))
def test_tenants_that_always_wait_pay_the_same(costs: list[int]) -> None:
    """Deficit round robin: whatever the turns of a tenant cost, it gets as much as the others."""
    bench = Bench()
    claims = [bench.claim(1, f"tenant{number}") for number in range(len(costs))]
    owner: dict[str, int] = {}

    def ask(number: int) -> None:
        owner[bench.ask(claims[number], costs[number] - 1.0)] = number

    for number in range(len(costs)):
        ask(number)
        ask(number)
    paid: Counter[int] = Counter()
    for _ in range(400):
        number = owner.pop(bench.step())
        paid[number] += costs[number]
        ask(number)
    assert max(paid.values()) - min(paid.values()) <= 2 * MOST_COST
