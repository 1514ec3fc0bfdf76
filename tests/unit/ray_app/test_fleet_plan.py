from __future__ import annotations

from colony.contracts import Lease, ShardOwner
from ray_app.fleet_plan import Assign, DrainHost, EndLease, KillHost, Seen, Snapshot, StartHost, plan_actions


def lease(slot: int, incarnation: str, left: float = 8, *, draining: bool = False) -> Lease:
    return Lease(incarnation=incarnation, host=f"colony-host-{slot}", expires_in=left, draining=draining)


def owners(*incarnations: str) -> list[ShardOwner]:
    return [ShardOwner(shard, 1, name, name and "some-host") for shard, name in enumerate(incarnations)]


def test_an_empty_fleet_is_started() -> None:
    assert plan_actions(Snapshot(2, [], [], owners("", ""))) == [StartHost(0), StartHost(1)]
    assert plan_actions(Snapshot(2, [], [], owners("", ""), starting=frozenset({0}))) == [StartHost(1)]


def test_a_dead_host_is_buried_replaced_and_its_shards_move_once_they_are_free() -> None:
    now = Snapshot(2, [Seen(1, "b", 9)], [lease(0, "a"), lease(1, "b")], owners("a", "a", "b", "b"))
    assert plan_actions(now) == [
        EndLease("a", "colony-host-0"),
        StartHost(0),
        Assign(1, "b", (0, 1, 2, 3), changes=True),
    ]


def test_a_frozen_host_is_buried_and_killed() -> None:
    now = Snapshot(1, [Seen(0, "a", 99)], [lease(0, "a", -0.1)], owners("a"))
    assert plan_actions(now) == [EndLease("a", "colony-host-0"), KillHost(0, "its lease ran out"), StartHost(0)]


def test_an_old_life_in_the_same_slot_is_buried_and_the_new_one_left_alone() -> None:
    now = Snapshot(1, [Seen(0, "new", 1)], [lease(0, "old"), lease(0, "new")], owners("old", "old"))
    assert plan_actions(now) == [EndLease("old", "colony-host-0"), Assign(0, "new", (0, 1), changes=True)]


def test_a_starting_host_is_not_killed_for_its_lack_of_a_lease() -> None:
    starting = frozenset({0})
    assert plan_actions(Snapshot(1, [Seen(0, "", 3)], [], owners(""), starting)) == []
    assert plan_actions(Snapshot(1, [], [lease(0, "a")], owners(""), starting)) == []
    assert plan_actions(Snapshot(1, [Seen(0, "", 99)], [], owners(""))) == [
        KillHost(0, "it did not start"),
        StartHost(0),
    ]


def test_a_host_that_takes_long_to_start_is_left_to_its_starter() -> None:
    assert plan_actions(Snapshot(1, [Seen(0, "", 31)], [], owners(""), starting=frozenset({0}))) == []


def test_shards_of_a_host_that_has_not_said_who_it_is_are_left_to_it() -> None:
    hosts = [Seen(0, "a", 9), Seen(1, "", 1)]
    leases = [lease(0, "a"), lease(1, "b")]
    now = Snapshot(2, hosts, leases, owners("a", "a", "b", "b", ""))
    assert plan_actions(now) == [Assign(0, "a", (0, 1, 4), changes=True)]


def test_a_new_host_gets_only_what_the_other_has_let_go() -> None:
    hosts = [Seen(0, "a", 9), Seen(1, "b", 1)]
    leases = [lease(0, "a"), lease(1, "b")]
    first = plan_actions(Snapshot(2, hosts, leases, owners("a", "a", "a", "a")))
    assert first == [Assign(1, "b", (), changes=False), Assign(0, "a", (1, 3), changes=True)]
    second = plan_actions(Snapshot(2, hosts, leases, owners("", "a", "", "a")))
    assert second == [Assign(0, "a", (1, 3), changes=False), Assign(1, "b", (0, 2), changes=True)]


def test_a_host_too_many_is_drained_and_gets_no_shards() -> None:
    hosts = [Seen(0, "a", 9), Seen(1, "b", 9)]
    leases = [lease(0, "a"), lease(1, "b")]
    assert plan_actions(Snapshot(1, hosts, leases, owners("a", "b"))) == [
        DrainHost(1),
        Assign(0, "a", (0,), changes=False),
    ]
    leases = [lease(0, "a"), lease(1, "b", draining=True)]
    assert plan_actions(Snapshot(1, hosts, leases, owners("a", ""), draining=frozenset({1}))) == [
        Assign(0, "a", (0, 1), changes=True)
    ]
