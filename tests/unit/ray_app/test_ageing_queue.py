from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import Overloaded
from ray_app.mailbox import AGEING_SECONDS, AgeingQueue


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2))))
def test_better_priorities_go_first_and_nothing_starves(arrivals: list[tuple[float, int]]) -> None:
    arrivals.sort(key=lambda entry: entry[0])
    queue: AgeingQueue[int] = AgeingQueue(1000)
    for number, (now, priority) in enumerate(arrivals):
        queue.push(number, priority, now)
    order = [queue.pop() for _ in arrivals]
    assert sorted(order) == list(range(len(arrivals)))
    for place, number in enumerate(order):
        now, priority = arrivals[number]
        for later in order[place + 1 :]:
            later_now, later_priority = arrivals[later]
            if later_priority == priority:
                assert later > number, "equal priorities keep their order"
            if later_now < now:
                assert now - later_now <= (later_priority - priority) * AGEING_SECONDS + 1e-9


def test_a_full_queue_refuses_but_takes_what_it_owes() -> None:
    queue: AgeingQueue[str] = AgeingQueue(1)
    queue.push("a", 0, 0)
    with pytest.raises(Overloaded):
        queue.push("b", 0, 0)
    queue.push_owed("c", 0, 0)
    assert len(queue) == 2
