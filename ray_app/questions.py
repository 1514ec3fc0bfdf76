"""Kinds of messages that a host answers itself, whichever agent they are sent to."""

from __future__ import annotations

from typing import Final

PING: Final = "ping"
"""Answered for any agent of the host, without waking it: `{"agent", "host", "incarnation"}`."""

PING_ALL: Final = "ping_all"
"""To any address in a shard; answered with all agents of the shard: `{"shard", "agents", "host", "incarnation"}`.

With `{"version": n}` the host also learns that the desired agents have that version now, and reads them soon."""

HOST_STATUS: Final = "host_status"
"""To any address in a shard; answered with the heartbeat of the shard's host as of now, a `HostBeat`."""
