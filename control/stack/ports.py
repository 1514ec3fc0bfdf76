"""Ports: configured, remembered, usual or free, in this order; the same at every start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from colony.errors import BadInput, Unavailable

NAMES: Final = (
    "postgres",
    "nats",
    "nats-monitoring",
    "consul",
    "consul-server",
    "consul-serf",
    "temporal",
    "temporal-ui",
    "temporal-http",
    "temporal-metrics",
    "temporal-frontend-membership",
    "temporal-history",
    "temporal-history-membership",
    "temporal-matching",
    "temporal-matching-membership",
    "temporal-worker",
    "temporal-worker-membership",
    "ray",
    "ray-dashboard",
    "ray-node-manager",
    "ray-object-manager",
    "ray-agent-http",
    "ray-agent-grpc",
    "ray-runtime-env",
    "ray-metrics",
    "api",
    "gateway",
    "model",
    "ollama",
    "gateway-proxy",
    "gateway-replicas",
)
"""Every port of a stack. Ray's workers take ports that the kernel chooses."""

BLOCKS: Final[Mapping[str, int]] = {"gateway-replicas": 32}
"""Names that stand for so many ports in a row, the first of them named."""

USUAL: Final[Mapping[str, int]] = {
    "temporal": 7233,
    "temporal-ui": 8233,
    "nats": 4222,
    "consul": 8500,
    "ray-dashboard": 8265,
    "api": 8080,
    "gateway": 8000,
}
"""What people and client programs expect; taken when free at first start."""

FIRST, LAST = 20_000, 31_999
"""Below the range the kernel takes for outgoing connections, so that a port stays free between two starts."""

IsFree = Callable[[int], bool]


def port_is_free(port: int) -> bool:
    """Whether something could listen on this port now, on every address."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("0.0.0.0", port))  # noqa: S104 - bound for an instant, never listened on
        except OSError:
            return False
    return True


def choose_ports(
    *,
    configured: Mapping[str, int],
    remembered: Mapping[str, int],
    usual: Mapping[str, int],
    ours: frozenset[int],
    seed: int,
    is_free: IsFree,
) -> dict[str, int]:
    """A port for every name, no two the same. Pure but for `is_free`.

    `ours` are ports of processes of this stack that live and will be adopted: they count as free.
    Raises `BadInput` when a configured name is unknown or its port is taken.
    """
    unknown = sorted(set(configured) - set(NAMES))
    if unknown:
        raise BadInput(f"servers.ports names {unknown[0]!r}, which is no port.", remedy=f"Known: {', '.join(NAMES)}.")
    chosen: dict[str, int] = {}
    for name, port in configured.items():
        if port in chosen.values() or (port not in ours and not is_free(port)):
            raise BadInput(
                f"Port {port} for {name} is taken by another program.",
                remedy=f"Change servers.ports.{name} in agent_config.yaml, or stop that program.",
            )
        chosen[name] = port
    # A name that needs a new port must not take what another name remembers.
    kept = _reached(remembered)
    candidates = (port for port in _candidates(seed) if port not in kept)
    for name in NAMES:
        if name not in chosen:
            wanted = (remembered.get(name), usual.get(name))
            chosen[name] = _first_free(name, wanted, candidates, _reached(chosen), ours, is_free)
    return chosen


def _first_free(
    name: str,
    wanted: Iterable[int | None],
    candidates: Iterator[int],
    used: frozenset[int],
    ours: frozenset[int],
    is_free: IsFree,
) -> int:
    def fits(port: int) -> bool:
        return used.isdisjoint(_row(name, port)) and (port in ours or all(map(is_free, _row(name, port))))

    for port in wanted:
        if port is not None and fits(port):
            return port
    for port in candidates:
        if fits(port):
            return port
    raise Unavailable(f"No free port is left between {FIRST} and {LAST}.")


def _row(name: str, port: int) -> range:
    return range(port, port + BLOCKS.get(name, 1))


def _reached(ports: Mapping[str, int]) -> frozenset[int]:
    """Every port that these names stand for."""
    return frozenset(port for name, first in ports.items() for port in _row(name, first))


def _candidates(seed: int) -> Iterator[int]:
    size = LAST - FIRST + 1
    return (FIRST + (seed + step) % size for step in range(size))


def read_ports(path: Path) -> dict[str, int]:
    """Ports chosen before; empty when there are none or the file is damaged (new ones are chosen then)."""
    try:
        found: object = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON of any shape


def write_ports(path: Path, ports: Mapping[str, int]) -> None:
    """Remember `ports`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(dict(ports), indent=1), encoding="ascii")
    fresh.replace(path)
