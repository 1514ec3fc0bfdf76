"""The configuration file of `nats-server`. A pure function; the caller writes the text to a file of mode 0600."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from colony.errors import BadInput
from colony.messaging.permissions import nats_server_users

MAX_PAYLOAD: Final = 1024 * 1024
"""Most bytes the server takes in one message: twice our own limit, so that ours is met first."""


def render_server_config(
    *,
    port: int,
    monitoring_port: int,
    store: Path,
    passwords: Mapping[str, str],
    host: str = "127.0.0.1",
    name: str = "colony",
    max_memory_mb: int = 64,
    max_file_mb: int = 512,
) -> str:
    """The text of `nats-server.conf`: authenticated users only, loopback, JetStream bounded below `store`.

    It holds the passwords (so that none stands on a command line): write it with mode 0600. `monitoring_port` 0
    leaves monitoring out. JetStream keeps only what can be rebuilt (events, the published registry), so syncing
    to disk every 10 s is enough. Raises `BadInput` for a password or an address that cannot be used.
    """
    config: dict[str, Any] = {
        "server_name": name,
        "host": _address(host),
        "port": _port(port),
        "max_payload": MAX_PAYLOAD,
        "max_connections": 4096,
        "max_subscriptions": 0,
        "write_deadline": "10s",
        "ping_interval": "20s",
        "ping_max": 2,
        "authorization": {"timeout": 5, "users": nats_server_users(passwords)},
        "jetstream": {
            "store_dir": str(store),
            "max_memory_store": max_memory_mb * 1024 * 1024,
            "max_file_store": max_file_mb * 1024 * 1024,
            "sync_interval": "10s",
        },
    }
    if monitoring_port:
        config["http"] = f"127.0.0.1:{_port(monitoring_port)}"
    return json.dumps(config, indent=2) + "\n"


def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise BadInput(f"{host[:80]!r} is not an IP address the bus can listen on.") from None


def _port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise BadInput(f"{port} is not a port.")
    return port
