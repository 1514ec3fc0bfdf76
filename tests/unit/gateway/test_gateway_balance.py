from __future__ import annotations

from collections import Counter

from ray_app.gateway.balance import choose
from ray_app.gateway.contracts import BackendLoad, Kind
from ray_app.gateway.slots import LOAD_AGE, Health, Joint, Replica, slots_of


def replicas(count: int = 3, slots: int = 4) -> list[Replica]:
    return [Replica(f"a/{number}", slots) for number in range(count)]


def chosen(found: list[Replica], prefix: int = 0, avoid: tuple[str, ...] = (), now: float = 0.0) -> str | None:
    replica = choose(found, prefix, avoid, now)
    return None if replica is None else replica.name


def test_only_the_free_ones() -> None:
    found = replicas(6)
    found[0].turn(Health.DOWN, "dead", 0.0)
    found[1].turn(Health.SUSPECT, "odd", 0.0)
    found[2].draining = True
    found[3].refused(0.0)
    for _ in range(found[4].admitted):
        found[4].begin("m")
    assert chosen(found) == "a/5"
    assert chosen(found, avoid=("a/5",)) is None
    assert chosen(found, avoid=("a/5",), now=1.0) == "a/3", "its pause is over"
    found[4].end()
    assert chosen(found, avoid=("a/5",)) == "a/4"


def test_least_work_first_and_then_the_one_called_least() -> None:
    found = replicas()
    order: list[str] = []
    for _ in range(6):
        replica = choose(found, 0, (), 0.0)
        assert replica is not None
        replica.begin("m")
        order.append(replica.name)
    assert Counter(order) == {"a/0": 2, "a/1": 2, "a/2": 2}
    found[1].end()
    assert chosen(found) == "a/1"


def test_work_of_others_counts_until_it_is_old_news() -> None:
    found = replicas(2)
    found[1].begin("m")
    found[0].report(BackendLoad(running=3, waiting=1), 10.0)
    assert found[0].outstanding(10.0) == 4
    assert chosen(found, now=10.0) == "a/1"
    assert chosen(found, now=11.0 + LOAD_AGE) == "a/0"
    found[1].report(BackendLoad(running=1), 10.0)
    assert found[1].outstanding(10.0) == 1, "the one running there is ours"


def test_a_prefix_has_a_home_that_survives_the_coming_and_going_of_others() -> None:
    found = replicas(4)
    homes = {prefix: chosen(found, prefix) for prefix in range(1, 400)}
    counts = Counter(homes.values())
    assert len(counts) == 4
    assert min(counts.values()) > 60
    found[2].turn(Health.DOWN, "dead", 0.0)
    moved = {prefix for prefix, home in homes.items() if chosen(found, prefix) != home}
    assert moved == {prefix for prefix, home in homes.items() if home == "a/2"}


def test_a_busy_home_is_left_for_another() -> None:
    found = replicas(2)
    home = next(replica for replica in found if replica.name == chosen(found, 5))
    home.begin("m")
    assert chosen(found, 5) == home.name, "about as busy"
    home.begin("m")
    assert chosen(found, 5) != home.name


def test_sizes_of_batches_and_pauses_are_kept() -> None:
    replica = Replica("a/0", 2)
    assert replica.admitted == 4
    for _ in range(3):
        replica.begin("m")
    replica.end()
    replica.begin("m")
    assert replica.sizes == {1: 1, 2: 1, 3: 2}
    assert replica.peak == 3
    assert replica.shown(0.0)["mean_batch"] == 2.25
    assert [replica.refused(now) - now for now in (0.0, 0.5, 10.0, 20.0, 40.0)] == [1.0, 0.5, 2.0, 4.0, 8.0]
    replica.answered(60.0)
    assert replica.refused(60.0) == 61.0


EMBEDDING = Joint(Kind.EMBEDDING)
COMPLETION = Joint(Kind.COMPLETION)


def filled(replica: Replica, joins: Joint | None) -> int:
    """Calls of a kind it takes until it is full."""
    calls = 0
    while replica.free(0.0, joins):
        replica.begin("m", joins)
        calls += 1
    return calls


def test_calls_that_go_out_together_share_a_slot() -> None:
    replica = Replica("a/0", 4, together=32)
    assert filled(replica, EMBEDDING) == 6 * 32
    assert replica.taken == replica.admitted == 6
    assert not replica.free(0.0)
    for _ in range(32):
        replica.end(EMBEDDING)
    assert replica.free(0.0)
    assert replica.outstanding(0.0) == 5
    assert filled(replica, None) == 1
    assert not replica.free(0.0, EMBEDDING)
    assert replica.shown(0.0)["taken"] == 6


def test_a_slot_takes_as_many_inputs_as_a_batch_whoever_brings_them() -> None:
    replica = Replica("a/0", 4, together=32)
    assert filled(replica, Joint(Kind.EMBEDDING, 16)) == 6 * 2
    assert not replica.free(0.0, EMBEDDING)
    replica.end(Joint(Kind.EMBEDDING, 16))
    assert filled(replica, EMBEDDING) == 16
    assert (replica.in_flight, replica.taken) == (27, 6)


def test_a_list_of_prompts_is_let_in_as_one_and_what_goes_beyond_call_by_call() -> None:
    assert [slots_of(Kind.COMPLETION, calls, 4) for calls in (0, 1, 4, 5, 7)] == [0, 1, 1, 2, 4]
    assert filled(Replica("a/0", 4, together=32), COMPLETION) == 32 + 5
    assert filled(Replica("a/0", 64, together=32), COMPLETION) == 32 + 65
    assert filled(Replica("a/0", 4), COMPLETION) == filled(Replica("a/0", 4), EMBEDDING) == 6


def test_each_kind_fills_batches_of_its_own() -> None:
    replica = Replica("a/0", 1, together=8)
    replica.begin("m", EMBEDDING)
    replica.begin("m", COMPLETION)
    assert replica.taken == 2
    assert filled(replica, None) == 1
    assert filled(replica, EMBEDDING) == 7, "the batch under way has room"
