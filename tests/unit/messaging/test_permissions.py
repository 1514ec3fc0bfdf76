from __future__ import annotations

import json
from pathlib import Path

import pytest

from colony.errors import BadInput, NotFound
from colony.messaging.permissions import ROLES, may_publish, may_subscribe, nats_server_users
from colony.messaging.server_config import render_server_config

PASSWORDS = {role: f"a-long-password-of-{role}" for role in ROLES}


def test_only_hosts_read_what_is_sent_to_agents():
    readers = {role for role in ROLES if may_subscribe(role, "colony.agent.*.*")}
    assert readers == {"host"}
    assert not any(may_subscribe(role, ">") or may_subscribe(role, "colony.>") for role in ROLES)


def test_nobody_reads_the_inbox_of_another_role():
    for role in ROLES:
        assert may_subscribe(role, f"_INBOX_{role}.x.*")
        for other in set(ROLES) - {role}:
            assert not may_subscribe(role, f"_INBOX_{other}.>")


def test_only_the_supervisor_destroys_streams():
    for verb in ("DELETE", "PURGE"):
        allowed = {role for role in ROLES if may_publish(role, f"$JS.API.STREAM.{verb}.colony_events")}
        assert allowed == {"supervisor"}


def test_a_client_talks_to_agents_and_cannot_play_a_host():
    assert may_publish("client", "colony.agent.17.research-00001")
    assert may_publish("client", "$SRV.PING")
    assert not may_publish("client", "colony.event.cancel.job")
    assert not may_publish("client", "colony.heartbeat.colony-host-0")
    assert not may_publish("client", "_INBOX_host.x.1")
    assert not may_publish("client", "$KV.colony_hosts.a")
    assert not may_subscribe("client", "$SRV.>")


def test_only_hosts_and_the_dispatcher_keep_the_registry():
    assert {role for role in ROLES if may_publish(role, "$JS.API.STREAM.CREATE.KV_colony_hosts")} == {
        "host",
        "dispatcher",
        "supervisor",
    }
    assert not may_publish("host", "$JS.API.STREAM.CREATE.other")


def test_no_role_but_the_known():
    with pytest.raises(NotFound):
        nats_server_users({"root": "a-long-password-of-root"})


@pytest.mark.parametrize(
    "password", ["", "short", "$2a$10$" + "a" * 40, 'with"quote-and-more', "with space and more", "a\nb" * 9]
)
def test_passwords_that_could_be_read_as_something_else(password):
    with pytest.raises(BadInput) as caught:
        nats_server_users({"host": password})
    assert not password or password not in str(caught.value)


def test_the_file_listens_on_loopback_and_bounds_jetstream():
    text = render_server_config(port=4222, monitoring_port=8222, store=Path("/data/x"), passwords=PASSWORDS)
    config = json.loads(text)
    assert config["host"] == "127.0.0.1"
    assert config["http"] == "127.0.0.1:8222"
    assert config["jetstream"]["max_file_store"] > 0
    assert {user["user"] for user in config["authorization"]["users"]} == set(ROLES)
    assert "http" not in json.loads(
        render_server_config(port=4222, monitoring_port=0, store=Path("/data/x"), passwords=PASSWORDS)
    )


@pytest.mark.parametrize(("host", "port"), [("localhost\n", 4222), ("127.0.0.1", 0), ("127.0.0.1", 70_000)])
def test_bad_addresses(host, port):
    with pytest.raises(BadInput):
        render_server_config(host=host, port=port, monitoring_port=0, store=Path("/x"), passwords=PASSWORDS)
