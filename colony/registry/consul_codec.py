"""How hosts and agents look in Consul. Pure.

A host is a node, an agent a service instance on it, and one node check says whether they pass. A short summary per
host in the key-value store (written in the same transactions) makes counting cheap.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError

from colony.errors import ColonyError
from colony.ids import AgentId, AgentType
from colony.registry.entries import HOST_SERVICE, add_counts
from colony.registry.port import AgentEntry, HostEntry

OPERATIONS: Final = 128
"""Most operations Consul takes in one transaction."""

NODE_CHECK: Final = "colony-host-alive"
"""The check of a host's node: one write flips all its agents."""

SUMMARY_PREFIX: Final = "colony/registry/"
"""Below this lies one summary per host."""

_NODE_META: Final = {"external-node": "true", "external-probe": "false", "colony": "true"}
_NODE_ADDRESS: Final = "127.0.0.1"
_NO_META: Final[Mapping[str, str]] = {}

Operation = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


class Node(NamedTuple):
    """A host's node as read: `modified` changes with every change of the node itself."""

    host: str
    incarnation: str
    modified: int
    meta: dict[str, str]


def meta_of(entry: Mapping[str, Any]) -> Mapping[str, str]:
    """The metadata of a node or service; empty where Consul says null."""
    return entry.get("Meta") or _NO_META


def nodes_of(answer: Rows) -> list[Node]:
    """The hosts' nodes in an answer of `/v1/catalog/nodes`."""
    return [
        Node(entry["Node"], entry["Meta"].get("incarnation", ""), int(entry["ModifyIndex"]), dict(entry["Meta"]))
        for entry in answer
        if meta_of(entry).get("colony") == "true"
    ]


def set_node(host: str, incarnation: str, meta: Mapping[str, str]) -> Operation:
    """Create or replace the node of a host."""
    return {"Node": {"Verb": "set", "Node": _node(host, {**meta, **_NODE_META, "incarnation": incarnation})}}


def expect_node(node: Node) -> Operation:
    """Let the transaction fail unless the node is still the one read. Writes the same content, so changes nothing."""
    return {"Node": {"Verb": "cas", "Node": {**_node(node.host, node.meta), "ModifyIndex": node.modified}}}


def delete_node(node: Node) -> Operation:
    """Remove the node with all its services and checks, if it is still the one read."""
    return {"Node": {"Verb": "delete-cas", "Node": {**_node(node.host, node.meta), "ModifyIndex": node.modified}}}


def set_check(host: str, *, passing: bool) -> Operation:
    """Set the node check: all agents of the host follow it."""
    check = {
        "Node": host,
        "CheckID": NODE_CHECK,
        "Name": "host of agents is alive",
        "Status": "passing" if passing else "critical",
    }
    return {"Check": {"Verb": "set", "Check": check}}


def put_agent(agent: AgentEntry) -> Operation:
    """Publish one agent."""
    service = {
        "ID": agent.agent_id,
        "Service": agent.agent_type,
        "Tags": agent.tags,
        "Meta": {"host": agent.host, "shard": str(agent.shard), "version": str(agent.version)},
    }
    return {"Service": {"Verb": "set", "Node": agent.host, "Service": service}}


def remove_agent(agent: AgentEntry) -> Operation:
    """Withdraw one agent."""
    service = {"ID": agent.agent_id, "Service": agent.agent_type}
    return {"Service": {"Verb": "delete", "Node": agent.host, "Service": service}}


def find_agent(host: str, agent_id: AgentId) -> Operation:
    """Read one agent of a host; an error of the operation when the host has none of that id."""
    return {"Service": {"Verb": "get", "Node": host, "Service": {"ID": agent_id}}}


def set_summary(host: str, incarnation: str, counts: Mapping[str, int]) -> Operation:
    """Say how many agents of each type a host has published."""
    value = orjson.dumps({"incarnation": incarnation, "counts": add_counts([counts])})
    key = SUMMARY_PREFIX + host
    return {"KV": {"Verb": "set", "Key": key, "Value": base64.b64encode(value).decode("ascii")}}


def delete_summary(host: str) -> Operation:
    """Forget the summary of a host."""
    return {"KV": {"Verb": "delete", "Key": SUMMARY_PREFIX + host}}


def summaries_of(answer: Rows) -> dict[tuple[str, str], dict[str, int]]:
    """Counts by (host, incarnation) in an answer of `/v1/kv/colony/registry/?recurse`."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for entry in answer:
        try:
            value = orjson.loads(base64.b64decode(entry["Value"] or ""))
            found[entry["Key"].removeprefix(SUMMARY_PREFIX), value["incarnation"]] = dict(value["counts"])
        except (ValueError, KeyError, TypeError):
            continue  # somebody else's key below our prefix
    return found


def agents_of(host: str, services: Sequence[Mapping[str, Any]] | None) -> dict[AgentId, AgentEntry]:
    """The agents among the services of a host's node; what we did not write is left out."""
    found: dict[AgentId, AgentEntry] = {}
    for service in services or ():
        agent = agent_of(host, service)
        if agent is not None:
            found[agent.agent_id] = agent
    return found


def agent_of(host: str, service: Mapping[str, Any]) -> AgentEntry | None:
    """The agent a service instance stands for; None when we did not write it."""
    try:
        meta = service["Meta"]
        return AgentEntry(
            agent_id=AgentId(service["ID"]),
            agent_type=AgentType(service["Service"]),
            host=host,
            shard=int(meta["shard"]),
            version=int(meta["version"]),
            tags=tuple(service.get("Tags") or ()),
        )
    except (KeyError, TypeError, ValueError, ValidationError, ColonyError):
        return None


def hosts_of(nodes: Sequence[Node], node_checks: Rows, beats: Rows) -> list[HostEntry]:
    """Hosts: one passes while its node check and the time-to-live check of the same incarnation both pass."""
    flipped_up = {check["Node"] for check in node_checks if check["Status"] == "passing"}
    beating = {
        (entry["Service"]["ID"], meta_of(entry["Service"]).get("incarnation", ""))
        for entry in beats
        if all(check["Status"] == "passing" for check in entry["Checks"])
    }
    return [
        HostEntry(
            host=node.host,
            incarnation=node.incarnation,
            passing=node.host in flipped_up and (node.host, node.incarnation) in beating,
        )
        for node in sorted(nodes)
    ]


def liveness_check(host: str, incarnation: str) -> str:
    """The id of the time-to-live check. It names the incarnation, so that a former one cannot keep it alive."""
    return f"{HOST_SERVICE}.{host}.{incarnation}"


def liveness_service(host: str, incarnation: str, meta: Mapping[str, str], time_to_live: float) -> dict[str, Any]:
    """What the local agent is told about a host; starts passing."""
    return {
        "ID": host,
        "Name": HOST_SERVICE,
        "Address": _NODE_ADDRESS,
        "Meta": {**meta, "incarnation": incarnation},
        "Check": {
            "CheckID": liveness_check(host, incarnation),
            "Name": "host beats",
            "TTL": f"{time_to_live:g}s",
            "Status": "passing",
            # Far longer than any outage we want to survive: Consul forgets the service only when it is really gone.
            "DeregisterCriticalServiceAfter": "15m",
        },
    }


def _node(host: str, meta: Mapping[str, str]) -> dict[str, Any]:
    return {"Node": host, "Address": _NODE_ADDRESS, "Meta": dict(meta)}
