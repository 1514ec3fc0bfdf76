from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.jobs import most_at_once

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)).map(lambda pair: (pair[0], pair[0] + pair[1])))


def test_spans_that_touch_do_not_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 1), (1, 2)]) == 1
    assert most_at_once([(0, 3), (1, 2), (2.5, 4)]) == 2


@given(SPANS)
def test_it_is_the_most_at_any_moment(spans: list[tuple[int, int]]) -> None:
    counted = [sum(begin <= moment < end for begin, end in spans) for moment in range(31)]
    assert most_at_once(spans) == max(counted)
