from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colony.errors import Overloaded
from ray_app.gateway.queue import FairQueue, Waiting, cost_of

AGEING = 10.0


def waiting(
    name: str, caller: str = "a", priority: int = 3, *, prefix: int = 0, cost: int = 1, at: float = 0.0
) -> Waiting:
    return Waiting(request_id=name, caller=caller, priority=priority, prefix=prefix, cost=cost, arrived=at)


def drained(queue: FairQueue, now: float = 0.0) -> list[str]:
    names: list[str] = []
    while (found := queue.pop(now)) is not None:
        names.append(found.request_id)
    return names


def filled(*entries: Waiting, length: int = 1000) -> FairQueue:
    queue = FairQueue(length, AGEING)
    for entry in entries:
        queue.push(entry, entry.arrived)
    return queue


def test_better_priorities_go_first_and_equal_ones_in_order() -> None:
    queue = filled(waiting("low", "a", 5), waiting("first", "b", 3), waiting("second", "c", 3), waiting("high", "d", 1))
    assert drained(queue) == ["high", "first", "second", "low"]


def test_callers_take_turns() -> None:
    many = [waiting(f"many-{number}", "many") for number in range(4)]
    queue = filled(*many, waiting("one", "one"), waiting("two", "two"))
    assert drained(queue) == ["many-0", "one", "two", "many-1", "many-2", "many-3"]


def test_a_large_request_costs_several_turns() -> None:
    queue = filled(waiting("large", "large", cost=3), *(waiting(f"small-{number}", "small") for number in range(5)))
    assert drained(queue) == ["small-0", "small-1", "large", "small-2", "small-3", "small-4"]


def test_cost_grows_with_tokens_and_ends_somewhere() -> None:
    assert [cost_of(tokens) for tokens in (0, 1023, 1024, 5000, 10**9)] == [1, 1, 2, 5, 8]


def test_age_lifts_by_one_for_each_ageing_time() -> None:
    queue = filled(waiting("old", "a", 5, at=0.0), waiting("new", "b", 3, at=21.0))
    assert queue.head(19.9) is not None
    assert queue.by_priority() == {1: 0, 2: 0, 3: 1, 4: 1, 5: 0}
    assert queue.pop(22.0).request_id == "new"  # type: ignore[union-attr]
    assert queue.by_priority()[3] == 1
    queue.push(waiting("high", "c", 1, at=40.0), 40.0)
    assert queue.by_priority()[1] == 1
    assert drained(queue, 40.0) == ["high", "old"]


def test_an_aged_request_goes_before_younger_ones_of_its_caller() -> None:
    queue = filled(waiting("low", "a", 2, at=0.0), waiting("high", "a", 1, at=5.0))
    assert drained(queue, 11.0) == ["low", "high"]


def test_age_from_elsewhere_counts() -> None:
    queue = FairQueue(10, AGEING)
    queue.push(waiting("moved", "a", 5, at=0.0), 25.0)
    assert queue.by_priority()[3] == 1


def test_equal_prefixes_stay_together_within_a_round() -> None:
    queue = filled(
        waiting("x1", "a", prefix=7), waiting("y1", "b", prefix=8), waiting("x2", "c", prefix=7),
        waiting("y2", "d", prefix=8), waiting("x3", "a", prefix=7),
    )  # fmt: skip
    assert drained(queue) == ["x1", "x2", "y1", "y2", "x3"]


def test_a_full_queue_refuses() -> None:
    queue = filled(waiting("1"), waiting("2"), length=2)
    assert queue.full
    with pytest.raises(Overloaded):
        queue.push(waiting("3"), 0.0)


def test_places_are_those_in_which_requests_go() -> None:
    entries = [waiting(f"{caller}{number}", caller, 1 + number % 3, cost=1 + number % 2)
               for caller in "abc" for number in range(5)]  # fmt: skip
    queue = filled(*entries)
    places = {entry.request_id: queue.place(entry.request_id, 0.0) for entry in entries}
    assert sorted(places, key=lambda name: places[name]) == drained(queue)
    assert queue.place("a0", 0.0) == -1


def test_new_callers_without_end_hold_nobody_up() -> None:
    """Newcomers join the next round, also while the current one is not over."""
    queue = filled(*(waiting(f"mine-{number}", "me") for number in range(3)))
    served: list[str] = []
    for number in range(40):
        queue.push(waiting(f"new-{number}", f"new-{number}"), 0.0)
        queue.push(waiting(f"also-{number}", f"also-{number}"), 0.0)
        served.append(queue.pop(0.0).request_id)  # type: ignore[union-attr]
    assert {"mine-0", "mine-1", "mine-2"} <= set(served)


def test_callers_that_come_back_at_once_get_equal_shares_of_one_with_a_backlog() -> None:
    queue = filled(*(waiting(f"greedy-{number}", "greedy") for number in range(500)))
    for caller in range(10):
        queue.push(waiting(f"{caller}-0", str(caller)), 0.0)
    served: Counter[str] = Counter()
    for turn in range(440):
        found = queue.pop(0.0)
        assert found is not None
        served[found.caller] += 1
        if found.caller != "greedy":
            queue.push(waiting(f"{found.caller}-{turn + 1}", found.caller), 0.0)
    assert set(served.values()) == {40}


def test_thousands_are_pushed_cancelled_and_forgotten() -> None:
    queue = FairQueue(100_000, AGEING)
    for number in range(5000):
        queue.push(waiting(str(number), f"c{number % 700}", 1 + number % 5, prefix=number % 3), 0.0)
    for number in range(5000):
        assert queue.cancel(str(number)) is not None
        assert queue.cancel(str(number)) is None
    assert len(queue) == 0
    assert queue.head(100.0) is None
    assert queue.size < 200, "cancelled requests are gone, not only marked"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 5), st.integers(1, 5), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("serve")),
        st.tuples(st.just("serve")),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.floats(0.0, 15.0)),
        st.tuples(st.just("flood"), st.integers(1, 2), st.integers(1, 30), st.integers(0, 3)),
    ),
    min_size=20,
    max_size=80,
)


class _Model:
    """What the docstring of `FairQueue` promises, kept beside it."""

    def __init__(self) -> None:
        self.queue = FairQueue(60, AGEING)
        self.now = 0.0
        self.inside: dict[str, Waiting] = {}
        self.allowed: dict[str, int] = {}
        """Cost of a request and of those of its caller that are no younger, from when it is in the first class."""
        self.passed: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        """Most callers in the first class since it is there."""

    def push(self, name: str, caller: str, priority: int, prefix: int, cost: int) -> None:
        if self.queue.full:
            return
        entry = waiting(name, caller, priority, prefix=prefix, cost=cost, at=self.now)
        self.queue.push(entry, self.now)
        self.inside[name] = entry

    def look(self) -> None:
        """After every change: who is in the first class now?"""
        self.queue.head(self.now)
        first = [entry for entry in self.inside.values() if entry.level == 1]
        callers = len({entry.caller for entry in first})
        for entry in self.inside.values():
            due = entry.arrived + (entry.priority - 1) * AGEING
            # Ageing adds times of floats: a hair's breadth either way.
            if entry.level != 1:
                assert self.now < due + 1e-6, "in the first class after (p - 1) * ageing seconds"
                continue
            name = entry.request_id
            older = sum(o.cost for o in self.inside.values() if o.caller == entry.caller and o.arrived <= entry.arrived)
            self.allowed.setdefault(name, older)
            self.most[name] = max(self.most[name], callers)

    def serve(self) -> None:
        self.look()
        found = self.queue.pop(self.now)
        assert (found is None) == (not self.inside)
        if found is None:
            return
        best = min(entry.level for entry in self.inside.values())
        assert found.level == best
        del self.inside[found.request_id]
        for name, entry in self.inside.items():
            if entry.level == 1 and name in self.allowed:
                self.passed[name] += 1
                bound = (self.allowed[name] + 1) * self.most[name]
                assert self.passed[name] <= bound, f"{entry} was passed {self.passed[name]} times, bound {bound}"


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_nothing_starves_and_cancelling_leaves_nothing(steps: list[tuple[object, ...]]) -> None:
    model = _Model()
    for number, step in enumerate(steps):
        match step:
            case ("push", int(caller), int(priority), int(prefix), int(cost)):
                model.push(str(number), f"c{caller}", priority, prefix, cost)
            case ("serve",):
                model.serve()
            case ("cancel", int(which)) if model.inside:
                name = list(model.inside)[which % len(model.inside)]
                model.queue.cancel(name)
                del model.inside[name]
            case ("wait", float(seconds)):
                model.now += seconds
            case ("flood", int(prefix), int(length), int(waiting_too)):
                # Ever new callers, urgent, with the prefix that was served last: the worst that can come.
                for wave in range(length):
                    for one in range(1 + (waiting_too if wave < 3 else 0)):
                        model.push(f"{number}-{wave}-{one}", f"new-{number}-{wave}-{one}", 1, prefix, 1)
                    model.serve()
            case _:
                pass
        model.look()
        assert len(model.queue) == len(model.inside)
        assert {entry.request_id for entry in model.queue} == set(model.inside)
    while model.inside:
        model.serve()
    assert model.queue.size <= 5 * 20 + 20


@settings(max_examples=60, deadline=None)
@given(
    st.integers(8, 40),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 2)), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_the_slowest_caller_gets_at_least_half_of_the_mean(
    callers: int, slots: int, extra: list[tuple[int, int]], random: object
) -> None:
    """Callers ask again as soon as they are served, some have more requests waiting; calls take two steps or three."""
    queue = FairQueue(100_000, AGEING)
    asked: Counter[str] = Counter()

    def ask(caller: str, now: float) -> None:
        asked[caller] += 1
        queue.push(waiting(f"{caller}/{asked[caller]}", caller, prefix=hash(caller) % 3, at=now), now)

    for caller in range(callers):
        ask(str(caller), 0.0)
    for caller, more in extra:
        for _ in range(more):
            ask(str(caller % callers), 0.0)
    served: Counter[str] = Counter()
    running: list[tuple[int, str]] = []
    for turn in range(callers * 60 // slots):
        now = turn * 0.01
        for entry in [entry for entry in running if entry[0] <= turn]:
            running.remove(entry)
            ask(entry[1], now)
        while len(running) < slots and (found := queue.pop(now)) is not None:
            running.append((turn + random.randint(2, 3), found.caller))  # type: ignore[attr-defined]
            served[found.caller] += 1
    mean = sum(served.values()) / callers
    assert min(served[str(caller)] for caller in range(callers)) >= mean / 2
