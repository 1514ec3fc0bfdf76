from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from colony.errors import BadInput
from colony.registry.consul_server import POLICIES, ConsulPorts, bootstrap_acl, consul_configuration, consul_environment


def test_nothing_is_left_to_defaults_that_open_doors() -> None:
    configuration = consul_configuration(
        data=Path("/data"), ports=ConsulPorts(http=1, server=2, serf=3), management_token="m", gossip_key="k"
    )
    assert orjson.loads(orjson.dumps(configuration)) == configuration
    assert {configuration[name] for name in ("bind_addr", "advertise_addr", "client_addr")} == {"127.0.0.1"}
    assert configuration["acl"]["enabled"] is True
    assert configuration["acl"]["default_policy"] == "deny"
    assert not configuration["enable_script_checks"]
    assert not configuration["enable_local_script_checks"]
    on = {name: port for name, port in configuration["ports"].items() if port != -1}
    assert on == {"http": 1, "server": 2, "serf_lan": 3}
    off = {"serf_wan", "https", "dns", "grpc", "grpc_tls"}
    assert off <= configuration["ports"].keys()


def test_a_client_may_only_read() -> None:
    assert "write" not in POLICIES["client"]
    assert 'key_prefix "colony/config/" { policy = "read" }' in POLICIES["host"]
    assert 'key_prefix "colony/config/" { policy = "write" }' in POLICIES["dispatcher"]
    assert "acl" not in "".join(POLICIES.values())


def test_the_environment_holds_no_secret_and_bounds_memory() -> None:
    assert consul_environment(256)["GOMEMLIMIT"] == "256MiB"


async def test_unknown_roles_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadInput, match="janitor"):
        await bootstrap_acl("http://127.0.0.1:1", "m", {"janitor": "x"})
