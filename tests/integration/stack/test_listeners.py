"""What a whole stack listens on: loopback, but for Ray, which takes every interface for its own ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from control.stack.paths import StackPaths
from control.stack.state import ServiceRecord, read_state
from control.stack.stopping import members
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def connections(pid: int) -> Sequence[Any]:
    try:
        return psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:  # it ended meanwhile
        return ()


def open_ports(service: ServiceRecord) -> dict[int, bool]:
    """Port -> whether it can be reached from outside."""
    found: dict[int, bool] = {}
    for entry in members(service):
        for connection in connections(entry.identity.pid):
            if connection.status == psutil.CONN_LISTEN:
                outside = not ipaddress.ip_address(connection.laddr.ip).is_loopback
                found[connection.laddr.port] = found.get(connection.laddr.port, False) or outside
    return found


def test_only_ray_listens_on_more_than_loopback(full_stack: RunningStack) -> None:
    state = read_state(StackPaths(full_stack.home).state_file)
    assert state is not None
    ports = {service.name: open_ports(service) for service in state.services}
    for name in ("postgres", "nats", "temporal", "consul"):
        assert ports[name], name
    outside = {name: [port for port, reachable in found.items() if reachable] for name, found in ports.items()}
    # A driver of Ray has one port of its own, where the hosts reach it.
    assert len(outside.pop("dispatcher")) <= 1
    assert outside.pop("ray")
    assert not any(outside.values()), outside
    dashboard = int(full_stack.endpoints["ray"]["dashboard"].rpartition(":")[2])
    assert ports["ray"][dashboard] is False
