from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ray_app.gateway.heap import Heap, Held


@given(st.lists(st.tuples(st.sampled_from(["push", "pop", "discard"]), st.integers(0, 9)), max_size=200))
def test_behaves_like_a_sorted_list(steps: list[tuple[str, int]]) -> None:
    heap: Heap[int] = Heap()
    model: list[Held[int]] = []
    for step, number in steps:
        if step == "push":
            model.append(heap.push(number, number))
        elif step == "discard" and model:
            held = model.pop(number % len(model))
            heap.discard(held)
            heap.discard(held)
        elif step == "pop" and model:
            first = min(model, key=lambda held: (held.key, held.tie))
            assert heap.top() is first
            heap.discard(first)
            model.remove(first)
        assert len(heap) == len(model)
        assert {held.tie for held in heap} == {held.tie for held in model}
        assert heap.size <= 2 * len(model) + 17
    assert (heap.top() is None) == (not model)
