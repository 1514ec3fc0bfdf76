"""Kinds of messages that a host answers itself, whichever agent they are sent to."""

from __future__ import annotations

from typing import Final

from colony.contracts import Travelling

PING: Final = "ping"
"""Answered for any agent of the host, without waking it: `{"agent", "host", "incarnation"}`."""

PING_ALL: Final = "ping_all"
"""To any address in a shard; answered with all agents of the shard: `{"shard", "agents", "host", "incarnation"}`.

With `{"version": n}` the host also learns that the desired agents have that version now, and reads them soon."""

HOST_STATUS: Final = "host_status"
"""To any address in a shard; answered with the heartbeat of the shard's host as of now, a `HostBeat`."""

HOST_QUEUE: Final = "host_queue"
"""To any address in a shard; answered with what waits on the shard's host, a `HostQueue`."""


class KeyDepth(Travelling):
    """What waits under one key."""

    priority: int
    """As it was asked for, 1 to 5; age lifts what waits."""
    tenant: str
    """Empty for what is for nobody in particular."""
    tasks: int
    batches: int
    """Batches those tasks are of."""


class HostQueue(Travelling):
    """What waits on a host."""

    host: str
    incarnation: str = ""
    places: int
    """Lanes that may run agents at once."""
    lanes: int
    """Lanes that wait for a place."""
    messages: int
    """Messages not begun yet."""
    keys: tuple[KeyDepth, ...]
    """Tasks that do not run yet, by priority and tenant, first what goes first."""
