"""What the reconciler should do now. Pure: a snapshot goes in, actions come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from colony.contracts import Lease, ShardOwner
from colony.ids import host_name
from ray_app.placement import targets


@dataclass(frozen=True)
class Seen:
    """A host that the platform says is alive. `age` is seconds since we know it; `incarnation` may be empty."""

    slot: int
    incarnation: str
    age: float


@dataclass(frozen=True)
class Snapshot:
    """The fleet at one moment."""

    desired: int
    """Hosts that should run: slots 0 to `desired` - 1."""
    hosts: Sequence[Seen]
    leases: Sequence[Lease]
    owners: Sequence[ShardOwner]
    starting: frozenset[int] = frozenset()
    """Slots we are starting a host in."""
    draining: frozenset[int] = frozenset()
    """Slots we asked to drain."""


@dataclass(frozen=True)
class EndLease:
    """A host is dead: free its shards, make what it had in flight suspect, tell the registry."""

    incarnation: str
    host: str


@dataclass(frozen=True)
class KillHost:
    """A process lives without a right to: end it."""

    slot: int
    reason: str


@dataclass(frozen=True)
class StartHost:
    """A slot is empty."""

    slot: int


@dataclass(frozen=True)
class DrainHost:
    """A slot is no longer wanted."""

    slot: int


@dataclass(frozen=True)
class Assign:
    """The exact shards a host should own now. Shards another live host still owns are not among them yet."""

    slot: int
    incarnation: str
    shards: tuple[int, ...]
    changes: bool
    """False if the ledger shows exactly these already."""


Action = EndLease | KillHost | StartHost | DrainHost | Assign

STARTUP_SECONDS = 30.0
"""A host without a lease after this long is killed."""


def plan_actions(now: Snapshot) -> list[Action]:
    """All that should be done, in this order: bury the dead, kill the wrong, start the missing, move shards."""
    alive = {seen.slot: seen for seen in now.hosts}
    good, dead = _judge(now)
    actions: list[Action] = [EndLease(lease.incarnation, lease.host) for lease in dead]
    kills = _kills(now, {lease.incarnation for lease in dead})
    actions.extend(kills)
    present = set(alive) - {kill.slot for kill in kills} | now.starting
    actions.extend(StartHost(slot) for slot in range(now.desired) if slot not in present)
    surplus = {slot for slot in good if slot >= now.desired}
    actions.extend(DrainHost(slot) for slot in sorted(surplus - now.draining))
    unclear = {lease.incarnation for lease in now.leases} - {lease.incarnation for lease in (*good.values(), *dead)}
    actions.extend(_assignments(now.owners, good, surplus, unclear))
    return actions


def _judge(now: Snapshot) -> tuple[dict[int, Lease], list[Lease]]:
    """Leases of hosts that work, by slot, and leases of hosts that are dead or frozen."""
    by_name = {str(host_name(seen.slot)): seen for seen in now.hosts}
    starting = {str(host_name(slot)) for slot in now.starting}
    good: dict[int, Lease] = {}
    dead: list[Lease] = []
    for lease in now.leases:
        seen = by_name.get(lease.host)
        if lease.expires_in <= 0:
            dead.append(lease)
        elif seen is None:
            # A host being started may have its lease before the platform shows it.
            if lease.host not in starting:
                dead.append(lease)
        elif seen.incarnation == lease.incarnation:
            good[seen.slot] = lease
        elif seen.incarnation:
            dead.append(lease)
    return good, dead


def _kills(now: Snapshot, dead: set[str]) -> list[KillHost]:
    leased = {lease.incarnation for lease in now.leases}
    kills: list[KillHost] = []
    for seen in now.hosts:
        if seen.incarnation in dead:
            kills.append(KillHost(seen.slot, "its lease ran out"))
        elif seen.incarnation and seen.incarnation not in leased and seen.slot not in now.starting:
            kills.append(KillHost(seen.slot, "it has no lease"))
        elif not seen.incarnation and seen.age > STARTUP_SECONDS and seen.slot not in now.starting:
            kills.append(KillHost(seen.slot, "it did not start"))
    return kills


def _assignments(
    owners: Sequence[ShardOwner], good: Mapping[int, Lease], surplus: set[int], unclear: set[str]
) -> list[Assign]:
    """What every good host should own. Shards of `unclear` ones (alive, but not known yet) are left to them."""
    slots = {lease.incarnation: slot for slot, lease in good.items()}
    held = {owner.shard: owner.incarnation for owner in owners if owner.incarnation in slots}
    able = [lease.incarnation for slot, lease in good.items() if not lease.draining and slot not in surplus]
    wanted = targets([owner.shard for owner in owners], able, held)
    kept = {owner.shard for owner in owners if owner.incarnation in unclear}
    found: list[Assign] = []
    for incarnation in able:
        # What another host still owns comes in a later round, once that one has let go.
        now = {shard for shard in wanted[incarnation] - kept if held.get(shard, incarnation) == incarnation}
        mine = {shard for shard, owner in held.items() if owner == incarnation}
        found.append(Assign(slots[incarnation], incarnation, tuple(sorted(now)), now != mine))
    # Those that give up shards first: their shards are what the others wait for.
    return sorted(found, key=lambda assign: len(assign.shards))
