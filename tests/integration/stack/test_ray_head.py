"""Ray as a service: when a part of the head dies, the whole session goes and a new one comes; `down` leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from control.stack.identity import Identity, alive
from control.stack.launch import start, stop
from control.stack.orders import Orders
from control.stack.paths import StackPaths
from control.stack.state import ServiceRecord, read_state
from control.stack.stopping import members
from tests.eventually import assert_eventually
from tests.processes import command_line

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def home() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="colony-a-home-so-deep-that-sockets-would-not-fit-") as folder:
        place = Path(folder) / "home"
        yield place
        stop(StackPaths(place), lambda _: None)


def ray(home: Path) -> ServiceRecord:
    record = read_state(StackPaths(home).state_file)
    assert record is not None
    found = record.service("ray")
    assert found is not None
    return found


def ready_again(home: Path, restarts: int) -> bool:
    record = ray(home)
    return record.state == "ready" and record.restarts == restarts


async def test_a_dead_raylet_takes_the_whole_session_along(home: Path) -> None:
    orders = Orders(home, None, "", ("ray",), usual_ports=False)
    await asyncio.to_thread(start, orders, lambda _: None)
    first = ray(home)
    before = [entry.identity for entry in members(first)]
    assert {"gcs_server", "raylet"} == set(first.processes)

    os.kill(first.processes["raylet"].pid, signal.SIGKILL)
    await assert_eventually(lambda: ready_again(home, 1), timeout=120, every=0.2)
    assert [identity for identity in before if alive(identity)] == []

    second = ray(home)
    assert isinstance(second.session, Identity)
    arguments = [command_line(entry.identity.pid) for entry in members(second)]
    token = (StackPaths(home).secrets / "ray-token").read_bytes()
    assert not [one for one in arguments if token in one]
    assert not [one for one in arguments if b"ray.util.client" in one], "nothing here speaks Ray Client"

    folder = StackPaths(home).ray
    assert not folder.is_relative_to(home)
    assert folder.stat().st_mode & 0o777 == 0o700
    await asyncio.to_thread(stop, StackPaths(home), lambda _: None)
    assert members(second) == []
    assert not folder.exists()
