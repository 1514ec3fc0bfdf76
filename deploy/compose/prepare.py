"""One-shot job: writes the configuration of NATS and Consul from the credentials, and hands the volumes over.

Runs as root and without a network, so that everything else can run as an ordinary user. May run again at any time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from colony.config.endpoints import read_secret
from colony.messaging.permissions import ROLES
from colony.messaging.server_config import render_server_config
from colony.registry.consul_server import ConsulPorts, consul_configuration

SECRETS: Final = Path("/run/secrets")
NATS_STORE: Final = Path("/var/lib/nats")
CONSUL_DATA: Final = Path("/var/lib/consul")

_NATS_FILE: Final = Path("/etc/nats/nats.conf")
_CONSUL_FILE: Final = Path("/etc/consul.d/consul.json")


def nats_configuration(secrets: Path, store: Path = NATS_STORE) -> str:
    """The text of `nats.conf`: like that of a stack on one machine, but reachable from the other containers."""
    passwords = {role: read_secret(secrets / f"nats-{role}") for role in ROLES}
    return render_server_config(port=4222, monitoring_port=8222, store=store, passwords=passwords, host="0.0.0.0")  # noqa: S104 -- compose publishes it on loopback only


def consul_file(secrets: Path, data: Path = CONSUL_DATA) -> str:
    """The text of `consul.json`. Only its HTTP port leaves the container: a single server gossips with nobody."""
    configuration: dict[str, Any] = consul_configuration(
        data=data,
        ports=ConsulPorts(http=8500, server=8300, serf=8301),
        management_token=read_secret(secrets / "consul-management"),
        gossip_key=read_secret(secrets / "consul-gossip"),
    )
    return json.dumps(configuration | {"client_addr": "0.0.0.0"}, indent=2) + "\n"  # noqa: S104 -- see above


def write_private(path: Path, text: str, owner: int, group: int) -> None:
    """Replace `path` by `text`, readable by `owner` alone, in one step."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chown(fresh, owner, group)
    fresh.replace(path)


def main() -> None:
    """Prepare the volumes for the user `COLONY_UID`:`COLONY_GID`."""
    owner, group = int(os.environ["COLONY_UID"]), int(os.environ["COLONY_GID"])
    for folder in (_NATS_FILE.parent, NATS_STORE, _CONSUL_FILE.parent, CONSUL_DATA):
        os.chown(folder, owner, group)
        folder.chmod(0o700)
    write_private(_NATS_FILE, nats_configuration(SECRETS), owner, group)
    write_private(_CONSUL_FILE, consul_file(SECRETS), owner, group)


if __name__ == "__main__":
    main()
