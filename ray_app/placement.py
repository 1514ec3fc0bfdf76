"""Which host should own which shard. Pure: the reconciler carries the moves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Move(NamedTuple):
    """One shard changes hands. `source` is empty for a shard that no live host owns."""

    shard: int
    source: str
    target: str


def place(shards: Sequence[int], hosts: Sequence[str], owners: Mapping[int, str]) -> list[Move]:
    """Moves after which the live hosts own all shards, differing by at most one, with the fewest moves.

    `hosts` are those that may own shards (alive and not draining), under any unique name; `owners` may name others.
    The same input always gives the same moves. Without hosts there is nothing to be done.
    """
    if not hosts:
        return []
    held: dict[str, list[int]] = {host: [] for host in sorted(hosts)}
    homeless: list[int] = []
    for shard in sorted(shards):
        held.get(owners.get(shard, ""), homeless).append(shard)
    quota, surplus = divmod(len(shards), len(held))
    # Those who hold most get the odd shard: anything else would move one more.
    by_size = sorted(held, key=lambda host: (-len(held[host]), host))
    limits = {host: quota + (rank < surplus) for rank, host in enumerate(by_size)}
    for host in by_size:
        homeless.extend(_spread(held[host], len(held[host]) - limits[host]))
    # In turn, not in blocks: the agents of a small fleet lie close together (ids that differ in a digit or two give
    # neighbouring checksums), and a block of shards would put them all on one host.
    places = [(place, host) for host in by_size for place in range(limits[host] - len(held[host]))]
    room = [host for _, host in sorted(places)]
    return [
        Move(shard, source if (source := owners.get(shard, "")) in held else "", target)
        for shard, target in zip(sorted(homeless), room, strict=True)
    ]


def targets(shards: Sequence[int], hosts: Sequence[str], owners: Mapping[int, str]) -> dict[str, set[int]]:
    """The shards each host should own once the moves of `place` are made."""
    wanted: dict[str, set[int]] = {host: set() for host in hosts}
    moved = {move.shard: move.target for move in place(shards, hosts, owners)}
    for shard in shards:
        host = moved.get(shard) or owners.get(shard, "")
        if host in wanted:
            wanted[host].add(shard)
    return wanted


def _spread(shards: Sequence[int], count: int) -> list[int]:
    """`count` of these, evenly spaced."""
    return [shards[number * len(shards) // count] for number in range(count)]
