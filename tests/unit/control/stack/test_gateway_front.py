"""The front of the gateway: who gets one, where it listens, and that HAProxy takes its configuration."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from colony.config.model import Config
from colony.errors import BadInput
from control.stack import gateway
from control.stack.binaries import find_haproxy
from control.stack.context import StackContext
from control.stack.gateway_status import serve_entries
from control.stack.identity import Entry, Identity
from control.stack.paths import StackPaths
from control.stack.ports import choose_ports
from control.stack.providers import Provider

PORTS = choose_ports(configured={}, remembered={}, usual={}, ours=frozenset(), seed=7, is_free=lambda _: True)


def context(home: Path, **changed: Any) -> StackContext:
    settings = {"backends": {"echo": {"kind": "scripted"}}, **changed}
    return StackContext(
        paths=StackPaths(home),
        config=Config.model_validate({"gateway": settings}),
        config_file="",
        folder=home,
        profile="embedded",
        ports=PORTS,
        providers={"ray": Provider("embedded")},
    )


def test_without_a_model_there_is_no_gateway(tmp_path: Path) -> None:
    bare = context(tmp_path, backends={})
    assert not gateway.runs_here(bare)
    assert gateway.endpoint(bare) is None
    assert gateway.serve_environment(bare) == {}


@pytest.mark.skipif(find_haproxy() is None, reason="Ray brings HAProxy on Linux only")
def test_haproxy_takes_the_configuration_and_listens_on_loopback_only(tmp_path: Path) -> None:
    text = gateway.config_text(context(tmp_path))
    file = tmp_path / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([str(find_haproxy()), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert re.findall(r"^\s*bind (.*)$", text, re.MULTILINE) == [f"127.0.0.1:{PORTS['gateway']}"]
    assert "stats" not in text
    assert StackPaths(tmp_path).tag in text


@pytest.mark.skipif(find_haproxy() is None, reason="Ray brings HAProxy on Linux only")
def test_a_port_of_another_stack_is_not_shared_with_it(tmp_path: Path) -> None:
    """Two that share a port get each other's callers: HAProxy shares, unless told not to."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = gateway.config_text(context(tmp_path))
        text = found.replace(f"bind 127.0.0.1:{PORTS['gateway']}", f"bind 127.0.0.1:{other.getsockname()[1]}")
        assert text != found
        file = tmp_path / "haproxy.cfg"
        file.write_text(text, encoding="utf-8")
        command = [str(find_haproxy()), "-db", "-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "Address already in use" in done.stderr


def test_replicas_listen_where_haproxy_looks(tmp_path: Path) -> None:
    found = context(tmp_path)
    environment = gateway.serve_environment(found)
    first = int(environment["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
    end = int(environment["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"])
    ports = [int(port) for port in re.findall(r"server \S+ 127\.0\.0\.1:(\d+)", gateway.config_text(found))]
    assert ports == list(range(first, end))
    assert PORTS["gateway-proxy"] not in ports


def test_serves_own_proxy_takes_the_port_itself(tmp_path: Path) -> None:
    found = context(tmp_path, front="proxy")
    endpoint = gateway.endpoint(found)
    assert endpoint is not None
    assert endpoint.url.endswith(f":{endpoint.proxy}")
    assert not gateway.runs_here(found)
    assert "RAY_SERVE_ENABLE_DIRECT_INGRESS" not in gateway.serve_environment(found)


def test_more_replicas_than_ports_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="replicas"):
        gateway.spec(context(tmp_path, replicas={"most": gateway.MOST_REPLICAS + 1}))


def test_serves_processes_are_told_from_rays() -> None:
    names = ("ray::ServeContr", "ray::ServeRepli", "ray::ProxyActor", "raylet", "ray::Host", "gcs_server")
    entries = [Entry(Identity(pid=number, started=1), name, 1, 1) for number, name in enumerate(names)]
    assert [entry.identity.pid for entry in serve_entries(entries)] == [0, 1, 2]
