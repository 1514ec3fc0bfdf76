"""The fleet in numbers: what nobody answered for is None, never zero."""

from __future__ import annotations

from colony.contracts import HostBeat, Lease, ShardOwner
from colony.ids import AgentType
from control.stack.fleet_status import one_shard_each, summary

OWNERS = [
    ShardOwner(0, 3, "first", "colony-host-0"),
    ShardOwner(1, 5, "first", "colony-host-0"),
    ShardOwner(2, 1, "second", "colony-host-1"),
    ShardOwner(3, 9, "", ""),
]
LEASES = [
    Lease(incarnation="second", host="colony-host-1", expires_in=8.04, draining=True),
    Lease(incarnation="first", host="colony-host-0", expires_in=9.0),
]
DESIRED = {AgentType("research"): {0: 10, 2: 1, 3: 4}, AgentType("analysis"): {0: 5}}
BEAT = HostBeat(
    host="colony-host-0",
    incarnation="first",
    shards=2,
    agents=15,
    awake=6,
    epoch=5,
    queued=0,
    in_flight=0,
    loop_lag_ms=0.1,
    pss_mb=80.5,
)


def test_a_fleet_is_summed_up_by_type_and_host() -> None:
    found = summary(DESIRED, LEASES, OWNERS, (16, 15), {"first": BEAT})
    assert {name: found[name] for name in ("desired", "types", "owned", "registered", "passing")} == {
        "desired": 20,
        "types": {"analysis": 5, "research": 15},
        "owned": 16,
        "registered": 16,
        "passing": 15,
    }
    first, second = found["hosts"]
    assert (first["host"], first["shards"], first["agents"], first["epoch"]) == ("colony-host-0", 2, 15, 5)
    assert (first["awake"], first["pss_mb"]) == (6, 80.5)
    assert (second["agents"], second["awake"], second["pss_mb"], second["draining"]) == (1, None, None, True)


def test_a_silent_registry_is_not_an_empty_one() -> None:
    found = summary({}, [], [], None, {})
    assert (found["desired"], found["registered"], found["passing"], found["hosts"]) == (0, None, None, [])


def test_every_owner_is_asked_once() -> None:
    asked = one_shard_each(OWNERS)
    assert set(asked) == {"first", "second"}
    assert all(OWNERS[shard].incarnation == incarnation for incarnation, shard in asked.items())
