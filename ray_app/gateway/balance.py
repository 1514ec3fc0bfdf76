"""Which replica a request goes to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b

from ray_app.gateway.slots import Joint, Replica


def choose(
    replicas: Iterable[Replica], prefix: int, avoid: Collection[str], now: float, joins: Joint | None = None
) -> Replica | None:
    """The replica to call; None when none is free. `joins` of a call that goes out with others.

    Free is what is up, not draining, not paused, has room and is not in `avoid`. The one with the least outstanding
    work wins, work of others included; among those about as busy, the one this prefix always goes to (its cache holds
    it), and without a prefix the one called least.
    """
    free = [replica for replica in replicas if replica.free(now, joins) and replica.name not in avoid]
    if len(free) < 2:
        return free[0] if free else None
    work = {replica.name: replica.outstanding(now) / replica.slots for replica in free}
    least = min(work.values())
    if not prefix:
        return min(free, key=lambda replica: (work[replica.name], replica.calls))
    alike = [replica for replica in free if work[replica.name] <= least + _margin(replica)]
    return max(alike, key=lambda replica: affinity(prefix, replica.name))


def affinity(prefix: int, replica: str) -> int:
    """Rendezvous hash: the replica with the highest value is the home of the prefix.

    When a replica comes or goes, only its own prefixes move.
    """
    return int.from_bytes(blake2b(f"{prefix}:{replica}".encode(), digest_size=8).digest(), "big")


def _margin(replica: Replica) -> float:
    """What counts as equally busy: a quarter of the slots, at least one call."""
    return max(1, replica.slots // 4) / replica.slots
