"""A real stack of the two quick servers: started, broken, adopted and stopped through the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from colony.config.endpoints import read_endpoints
from colony.ledger.postgres import open_ledger
from control.stack.identity import all_entries
from control.stack.paths import StackPaths
from control.stack.state import ServiceRecord, StackRecord, read_state
from control.stack.stopping import members
from tests.eventually import assert_eventually
from tests.processes import command_line

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SMALL = ("--only", "postgres,nats", "--free-ports")


def colony(home: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "control", *arguments, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def home() -> Generator[Path]:
    # Not below pytest's own folder: that is closed to the account Postgres runs as when we are root.
    with tempfile.TemporaryDirectory(prefix="colony-test-") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / "home"
        yield place
        colony(place, "down", "--purge", check=False)


def state(home: Path) -> StackRecord:
    found = read_state(StackPaths(home).state_file)
    assert found is not None
    return found


def service(home: Path, name: str) -> ServiceRecord:
    found = state(home).service(name)
    assert found is not None
    return found


def pid_of(home: Path, name: str) -> int:
    return service(home, name).processes[name].pid


def living(record: StackRecord) -> list[str]:
    entries = all_entries()
    found = [entry.name for one in record.services for entry in members(one, entries)]
    return found + [entry.name for entry in entries if entry.identity == record.supervisor]


def status(home: Path) -> dict[str, Any]:
    return json.loads(colony(home, "status", "--json", check=False).stdout)


async def test_up_status_again_down(home: Path) -> None:
    colony(home, "up", *SMALL)
    record = state(home)
    found = status(home)
    assert found["phase"] == "ready"
    assert {name: entry["state"] for name, entry in found["services"].items()} == {
        "postgres": "ready",
        "nats": "ready",
        "supervisor": "ready",
    }
    assert found["totals"]["pss_mb"] > 20
    async with open_ledger(read_endpoints(home).postgres, pool_size=1) as ledger:
        assert await ledger.agents() == []

    assert "already" in colony(home, "up", *SMALL).stdout
    assert state(home).supervisor == record.supervisor

    for path in StackPaths(home).secrets.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0
    _no_secret_is_visible(home, record)

    colony(home, "down")
    assert living(record) == []
    assert colony(home, "status", check=False).returncode == 3
    colony(home, "down", "--purge")
    assert os.listdir(home) == []  # noqa: PTH208 - blocking is fine here


def _no_secret_is_visible(home: Path, record: StackRecord) -> None:
    secrets = [path.read_bytes().strip() for path in StackPaths(home).secrets.iterdir() if path.is_file()]
    entries = [entry for one in record.services for entry in members(one)]
    shown = [command_line(entry.identity.pid) for entry in entries]
    shown += [path.read_bytes() for path in StackPaths(home).logs.iterdir()]
    assert shown
    assert not [secret for secret in secrets for text in shown if secret in text]


async def test_a_killed_server_comes_back_and_a_killed_supervisor_leaves_children_to_adopt(home: Path) -> None:
    colony(home, "up", *SMALL)
    before = {name: pid_of(home, name) for name in ("postgres", "nats")}

    os.kill(before["postgres"], signal.SIGKILL)
    await assert_eventually(
        lambda: (record := service(home, "postgres")).state == "ready" and record.restarts == 1, timeout=30
    )
    assert pid_of(home, "postgres") != before["postgres"]
    assert pid_of(home, "nats") == before["nats"]

    first = state(home)
    os.kill(first.supervisor.pid, signal.SIGKILL)
    await assert_eventually(lambda: status(home)["phase"] == "unsupervised", timeout=30)
    colony(home, "up", *SMALL)
    second = state(home)
    assert second.supervisor != first.supervisor
    assert {one.name: one.processes for one in second.services} == {one.name: one.processes for one in first.services}

    # Adopted services are watched like started ones.
    os.kill(before["nats"], signal.SIGKILL)
    await assert_eventually(
        lambda: service(home, "nats").state == "ready" and pid_of(home, "nats") != before["nats"],
        timeout=60,
    )
    assert record_of_restarts(home) == {"postgres": 1, "nats": 1}

    # `down` needs no supervisor.
    last = state(home)
    os.kill(last.supervisor.pid, signal.SIGKILL)
    colony(home, "down")
    assert living(last) == []


def record_of_restarts(home: Path) -> dict[str, int]:
    return {one.name: one.restarts for one in state(home).services}


def test_two_stacks_side_by_side_do_not_meet(home: Path) -> None:
    other = home.with_name("other")
    try:
        for place in (home, other):
            colony(place, "up", *SMALL)
        ports = [json.loads(StackPaths(place).ports_file.read_text()) for place in (home, other)]
        assert not set(ports[0].values()) & set(ports[1].values())
        colony(home, "down")
        assert status(other)["phase"] == "ready"
        assert {entry["state"] for entry in status(other)["services"].values()} == {"ready"}
    finally:
        colony(other, "down", "--purge")


def test_a_stack_that_cannot_come_up_says_why_and_leaves_nothing(home: Path) -> None:
    data = home / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9.1\n", encoding="ascii")
    done = colony(home, "up", *SMALL, check=False)
    assert done.returncode == 3
    assert "postgres.log" in done.stdout
    assert living(state(home)) == []
    assert state(home).phase == "failed"


async def test_a_frozen_server_is_started_again(home: Path) -> None:
    colony(home, "up", "--only", "nats", "--free-ports")
    frozen = pid_of(home, "nats")
    os.kill(frozen, signal.SIGSTOP)
    await assert_eventually(
        lambda: service(home, "nats").state == "ready" and pid_of(home, "nats") != frozen, timeout=60
    )
    assert (service(home, "nats").restarts, service(home, "nats").last_restart) == (1, "frozen")


def test_a_supervisor_that_cannot_watch_any_more_stops_the_stack_and_fails(home: Path) -> None:
    blind = """
import sys
from control.stack import supervisor
async def watch(self):
    raise RuntimeError("blind")
supervisor.Guardian.watch = watch
sys.exit(supervisor.main())
"""
    command = [sys.executable, "-c", blind, "--home", str(home), "--only", "nats", "--free-ports"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    failure = state(home).failure
    assert state(home).phase == "failed"
    assert failure is not None
    assert "blind" in failure.message
    assert living(state(home)) == []


def test_a_taken_configured_port_is_named(home: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = tmp_path / "agent_config.yaml"
        config.write_text(f"servers:\n  ports:\n    nats: {port}\n", encoding="utf-8")
        done = colony(home, "up", *SMALL, "--config", str(config), check=False)
    assert done.returncode == 2
    assert living(state(home)) == []
    assert f"Port {port} for nats" in done.stderr


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = colony(tmp_path / "file" / "home", "up", check=False)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
