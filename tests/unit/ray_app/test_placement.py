from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from colony.ids import SHARDS, AgentType, agent_name, shard_of
from ray_app.placement import place, targets

HOSTS = st.lists(st.sampled_from([f"host-{n}" for n in range(8)]), unique=True, min_size=1)
OWNERS = st.dictionaries(st.integers(0, 60), st.sampled_from(["", "gone", *(f"host-{n}" for n in range(8))]))


@given(count=st.integers(0, 61), hosts=HOSTS, owners=OWNERS)
def test_all_shards_are_owned_evenly_with_the_fewest_moves(
    count: int, hosts: list[str], owners: dict[int, str]
) -> None:
    shards = range(count)
    moves = place(shards, hosts, owners)
    after = {shard: owners.get(shard, "") for shard in shards} | {move.shard: move.target for move in moves}
    held = Counter(after.values())
    sizes = [held[host] for host in hosts]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    # The fewest: keep as many as the best choice of who gets the odd shard allows.
    before = sorted((sum(owners.get(shard) == host for shard in shards) for host in hosts), reverse=True)
    quota, odd = divmod(count, len(hosts))
    kept = sum(min(size, quota + (rank < odd)) for rank, size in enumerate(before))
    assert len(moves) == count - kept
    assert all(move.source != move.target for move in moves)
    assert place(shards, list(reversed(hosts)), owners) == moves
    assert {host: {s for s, owner in after.items() if owner == host} for host in hosts} == targets(
        shards, hosts, owners
    )


def test_nobody_there_nothing_to_do() -> None:
    assert place(range(5), [], {}) == []
    assert targets(range(5), [], {}) == {}


def test_the_agents_of_a_small_fleet_are_spread_over_the_hosts() -> None:
    owners = {move.shard: move.target for move in place(range(SHARDS), ["a", "b"], {})}
    grown = owners | {move.shard: move.target for move in place(range(SHARDS), ["a", "b", "c"], owners)}
    for kind in ("research", "processing", "analysis", "monitoring", "coordination"):
        shards = [shard_of(agent_name(AgentType(kind), number)) for number in range(24)]
        for placed, hosts in ((owners, "ab"), (grown, "abc")):
            counts = [sum(placed[shard] == host for shard in shards) for host in hosts]
            assert min(counts) >= 3, (kind, counts)
