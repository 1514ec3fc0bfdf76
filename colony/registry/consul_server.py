"""A Consul server of our own: its configuration, the policies of our roles, and the first tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from colony.errors import BadInput
from colony.registry.consul_codec import SUMMARY_PREFIX
from colony.registry.consul_http import ConsulHttp, open_consul_http
from colony.registry.entries import CONFIG_PREFIX, HOST_SERVICE

NODE_NAME: Final = "colony-server"
"""Name of the server's own node. Hosts are `colony-host-…`, so a host's token cannot write it."""

_READ_ALL: Final = """\
node_prefix "" { policy = "read" }
service_prefix "" { policy = "read" }
"""

# Agent types are whatever the user's file names, so a host may write any service, but only on the nodes of hosts:
# a service on another node would need the right to write that node.
_PUBLISH: Final = f"""\
node_prefix "" {{ policy = "read" }}
node_prefix "{HOST_SERVICE}" {{ policy = "write" }}
service_prefix "" {{ policy = "write" }}
service "consul" {{ policy = "read" }}
key_prefix "{SUMMARY_PREFIX}" {{ policy = "write" }}
"""

POLICIES: Final[Mapping[str, str]] = {
    "host": f'{_PUBLISH}key_prefix "{CONFIG_PREFIX}" {{ policy = "read" }}\n',
    "dispatcher": f'{_PUBLISH}key_prefix "{CONFIG_PREFIX}" {{ policy = "write" }}\n',
    "client": f'{_READ_ALL}key_prefix "colony/" {{ policy = "read" }}\n',
}
"""Rules by role. Whoever has no token may do nothing: the default policy denies."""


class ConsulPorts(NamedTuple):
    """Ports of the server, all on loopback. Everything else Consul could listen on is switched off."""

    http: int
    server: int
    serf: int


def consul_configuration(
    *, data: Path, ports: ConsulPorts, management_token: str, gossip_key: str, raft_multiplier: int = 1
) -> dict[str, Any]:
    """The configuration of a single server: holds two secrets, so write it with mode 0600.

    `management_token` is a uuid, `gossip_key` 32 bytes in base64.
    """
    return {
        "server": True,
        "bootstrap_expect": 1,
        "node_name": NODE_NAME,
        "datacenter": "colony",
        "data_dir": str(data),
        "bind_addr": "127.0.0.1",
        "advertise_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {
            "http": ports.http,
            "server": ports.server,
            "serf_lan": ports.serf,
            "serf_wan": -1,
            "https": -1,
            "dns": -1,
            "grpc": -1,
            "grpc_tls": -1,
        },
        "ui_config": {"enabled": True},
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "enable_token_persistence": False,
            # The agent registers its own node and hands services over with this token.
            "tokens": {"initial_management": management_token, "agent": management_token},
        },
        "encrypt": gossip_key,
        "enable_script_checks": False,
        "enable_local_script_checks": False,
        "disable_remote_exec": True,
        "disable_update_check": True,
        "disable_anonymous_signature": True,
        "connect": {"enabled": False},
        "telemetry": {"disable_hostname": True, "prometheus_retention_time": "0s"},
        "performance": {"raft_multiplier": raft_multiplier},
        # Registering a hundred thousand agents fills the log quickly: short tails keep memory and disk small.
        "raft_snapshot_threshold": 4096,
        "raft_snapshot_interval": "30s",
        "raft_trailing_logs": 1024,
        "limits": {"http_max_conns_per_client": 400, "txn_max_req_len": 1024 * 1024},
        # A single server has nobody to say goodbye to: leaving would make every stop take eight seconds.
        "leave_on_terminate": False,
        "log_level": "warn",
    }


def consul_environment(memory_limit_mb: int = 512) -> dict[str, str]:
    """Environment that keeps the server small: it collects garbage early, hard only near the limit."""
    return {"GOGC": "50", "GOMEMLIMIT": f"{memory_limit_mb}MiB"}


async def bootstrap_acl(address: str, management_token: str, role_tokens: Mapping[str, str]) -> None:
    """Make the policies, and for each role of `POLICIES` named the token with that SecretID (a uuid).

    May be repeated: rules are brought up to date, tokens that exist are left alone. Raises `BadInput` for an unknown
    role, `NotPermitted` for a wrong management token, `Unavailable` while there is no leader.
    """
    unknown = sorted(role_tokens.keys() - POLICIES.keys())
    if unknown:
        raise BadInput(f"There is no Consul role {unknown[0]}.", remedy=f"Roles are {', '.join(sorted(POLICIES))}.")
    async with open_consul_http(address, management_token) as http:
        # Lists, not single look-ups: Consul logs an error for each look-up that finds nothing.
        policies = {policy["Name"]: policy["ID"] for policy in await http.rows("/v1/acl/policies")}
        secrets = {token.get("SecretID") for token in await http.rows("/v1/acl/tokens")}
        for role, secret in role_tokens.items():
            name = f"colony-{role}"
            await _put_policy(http, role, name, policies.get(name))
            if secret not in secrets:
                token = {"SecretID": secret, "Description": f"Colony, role {role}", "Policies": [{"Name": name}]}
                await http.put("/v1/acl/token", token)


async def _put_policy(http: ConsulHttp, role: str, name: str, existing: str | None) -> None:
    wanted = {"Name": name, "Description": f"Colony, role {role}", "Rules": POLICIES[role]}
    if existing is None:
        await http.put("/v1/acl/policy", wanted)
        return
    found = await http.entry(f"/v1/acl/policy/{existing}")
    if found is None or found.get("Rules") != POLICIES[role]:
        await http.put(f"/v1/acl/policy/{existing}", wanted)
