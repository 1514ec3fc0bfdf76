from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from colony.errors import ModelRefused, Overloaded
from control.pool.decide import Memory, Resident, Wanted, admit, idle, room

MB = 1_000_000
NOW = 1000.0


def model(name: str, *, weights: int = 100, private: int = 50, file: str = "", critical: bool = False) -> Wanted:
    return Wanted(name, file or name, weights * MB, private * MB, critical)


def resident(wanted: Wanted, *, last_used: float = 0.0, leased: float = 0.0, used: int | None = None) -> Resident:
    return Resident(wanted, wanted.private if used is None else used * MB, last_used, leased)


def memory(available: int, *, total: int = 10_000, reserve: int = 0, most: int = 0) -> Memory:
    return Memory(total * MB, available * MB, reserve * MB, most * MB)


def test_weights_of_one_file_count_once() -> None:
    one = resident(model("one", file="f"))
    assert room(memory(1000), [one]) == 900 * MB
    assert room(memory(1000), [one, resident(model("two", file="f"))]) == 900 * MB
    assert admit(model("three", file="f"), [one], memory(150), NOW).unload == ()
    with pytest.raises(Overloaded):
        admit(model("three"), [resident(one.model, leased=NOW + 9)], memory(150), NOW)


def test_what_was_promised_and_is_not_used_yet_is_not_given_away() -> None:
    assert room(memory(1000), [resident(model("one", private=300), used=100)]) == 700 * MB


def test_the_least_recently_used_go_first_and_only_as_many_as_needed() -> None:
    old = resident(model("old", private=10), last_used=1)
    older = resident(model("older", private=400), last_used=2)
    new = resident(model("new", private=400), last_used=3)
    found = admit(model("big", private=300), [new, older, old], memory(400), NOW)
    assert found.unload == ("older",), "the small one would not have been enough, and is not needed"


def test_refusals_carry_numbers_remedy_and_when_to_come_back() -> None:
    with pytest.raises(ModelRefused, match=r"needs 150 MB \(100 weights, 50 .*may have 140 MB") as never:
        admit(model("one"), [], memory(10_000, total=200, reserve=60), NOW)
    assert never.value.remedy
    leased = resident(model("two"), leased=NOW + 7)
    with pytest.raises(Overloaded, match=r"100 MB are missing .*\(two, vital\)") as later:
        admit(model("one"), [leased, resident(model("vital", critical=True))], memory(250), NOW)
    assert later.value.retry_after == 7
    with pytest.raises(Overloaded) as nobody:
        admit(model("one"), [], memory(100), NOW)
    assert nobody.value.retry_after == 30


def test_idle_counts_from_the_end_of_the_last_lease() -> None:
    lapsed = resident(model("lapsed"), last_used=NOW - 100, leased=NOW - 5)
    assert idle([lapsed], NOW, 10) == ()
    assert idle([lapsed], NOW + 5, 10) == ("lapsed",)
    assert idle([resident(model("vital", critical=True))], NOW, 10) == ()
    assert idle([resident(model("busy"), leased=NOW + 1)], NOW, 0.1) == ()


residents = st.lists(
    st.builds(
        resident,
        st.builds(
            model,
            st.integers(0, 10_000).map(str),
            weights=st.just(100),
            private=st.integers(1, 300),
            file=st.sampled_from("abc"),
            critical=st.booleans(),
        ),
        last_used=st.floats(0, 999),
        leased=st.sampled_from([0.0, NOW - 1, NOW + 10]),
        used=st.integers(0, 300),
    ),
    max_size=6,
    unique_by=lambda found: found.model.name,
)


@given(residents, st.integers(1, 300), st.sampled_from("abcd"), st.integers(0, 2000), st.sampled_from([0, 700, 1500]))
def test_an_admitted_model_fits_once_the_others_went(
    there: list[Resident], private: int, file: str, available: int, most: int
) -> None:
    wanted = model("wanted", private=private, file=file)
    left = memory(available, total=2000, most=most)
    try:
        going = admit(wanted, there, left, NOW).unload
    except (Overloaded, ModelRefused):
        return
    stay = [found for found in there if found.model.name not in going]
    gone = [found for found in there if found.model.name in going]
    assert all(found.free_to_go(NOW) for found in gone)
    freed = sum(found.used for found in gone)
    after = Memory(left.total, left.available + freed, left.reserve, left.most)
    assert room(after, [*stay, resident(wanted, used=0)]) >= 0


@dataclass
class Child:
    wanted: Wanted
    last_used: float
    leased_until: float = 0.0
    used: int = 0


@dataclass
class Machine:
    """A machine whose memory is counted for real: each file once, and what each process has touched."""

    total: int
    others: int
    children: dict[str, Child] = field(default_factory=dict)

    def available(self) -> int:
        return self.total - self.others - sum(child.used for child in self.children.values())

    def residents(self) -> list[Resident]:
        return [
            Resident(child.wanted, child.used, child.last_used, child.leased_until) for child in self.children.values()
        ]

    def worst(self) -> int:
        """When every model takes all it was promised."""
        files = {child.wanted.file: child.wanted.weights for child in self.children.values()}
        private = sum(child.wanted.private for child in self.children.values())
        return self.others + sum(files.values()) + private


RESERVE = 100 * MB
CATALOGUE = {
    **{f"small{n}": model(f"small{n}", weights=100, private=60 + 20 * n, file="shared") for n in range(3)},
    "middle": model("middle", weights=300, private=200),
    "vital": model("vital", weights=50, private=50, critical=True),
    "large": model("large", weights=500, private=250),
}


class PoolOnAMachine(RuleBasedStateMachine):
    """Loads, calls, leases and time in any order: memory is never promised twice, nobody is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(total=1000 * MB, others=100 * MB)
        self.now = 0.0

    @rule(name=st.sampled_from(sorted(CATALOGUE)), lease=st.sampled_from([0.0, 5.0, 50.0]))
    def load(self, name: str, lease: float) -> None:
        child = self.machine.children.get(name)
        if child is None:
            left = Memory(self.machine.total, self.machine.available(), RESERVE)
            try:
                going = admit(CATALOGUE[name], self.machine.residents(), left, self.now).unload
            except Overloaded:
                return
            self.let_go(going)
            child = self.machine.children[name] = Child(CATALOGUE[name], self.now)
        child.last_used, child.leased_until = self.now, self.now + lease

    @rule(name=st.sampled_from(sorted(CATALOGUE)), share=st.floats(0, 1))
    def touch_memory(self, name: str, share: float) -> None:
        if child := self.machine.children.get(name):
            child.used = max(child.used, int(child.wanted.private * share))

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.let_go(idle(self.machine.residents(), self.now, 30.0))

    def let_go(self, names: tuple[str, ...]) -> None:
        for name in names:
            child = self.machine.children.pop(name)
            assert not child.wanted.critical
            assert child.leased_until <= self.now

    @invariant()
    def memory_is_never_promised_twice(self) -> None:
        assert self.machine.worst() <= self.machine.total - RESERVE


TestPoolOnAMachine = PoolOnAMachine.TestCase
