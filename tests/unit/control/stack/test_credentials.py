"""Credentials are made once and only for their owner."""

from __future__ import annotations

import stat
import uuid
from pathlib import Path

import pytest

from colony.errors import NotPermitted
from colony.messaging.permissions import nats_server_users
from control.stack.credentials import NATS_ROLES, PASSWORDS, TOKENS, ensure_credentials, write_private


def test_they_are_private_and_stay_the_same(tmp_path: Path) -> None:
    ensure_credentials(tmp_path)
    first = {path.name: path.read_text(encoding="ascii") for path in tmp_path.iterdir()}
    assert {*PASSWORDS, *TOKENS, "consul-gossip"} == set(first)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())
    assert len(set(first.values())) == len(first)
    ensure_credentials(tmp_path)
    assert {path.name: path.read_text(encoding="ascii") for path in tmp_path.iterdir()} == first


def test_consul_tokens_are_uuids_and_the_bus_takes_its_passwords(tmp_path: Path) -> None:
    ensure_credentials(tmp_path)
    for name in TOKENS:
        uuid.UUID((tmp_path / name).read_text(encoding="ascii"))
    nats_server_users({role: (tmp_path / f"nats-{role}").read_text(encoding="ascii") for role in NATS_ROLES})


def test_a_credential_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ensure_credentials(tmp_path)
    (tmp_path / "ray-token").chmod(0o644)
    with pytest.raises(NotPermitted, match="ray-token") as refused:
        ensure_credentials(tmp_path)
    assert "chmod 600" in refused.value.remedy


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "server.conf"
    write_private(file, "one")
    write_private(file, "two")
    assert file.read_text(encoding="utf-8") == "two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
