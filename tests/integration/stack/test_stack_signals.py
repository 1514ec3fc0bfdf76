"""The supervisor and its signals: one asks for an orderly stop, the second ends it at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control.stack.paths import StackPaths
from control.stack.state import ServiceRecord, StackRecord, read_state
from control.stack.stopping import members
from tests.eventually import assert_eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def home() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="colony-test-") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / "home"
        yield place
        down(place, "--purge")


def down(home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "control", "down", *arguments, "--home", str(home)]
    subprocess.run(command, capture_output=True, timeout=100, check=True)


@contextmanager
def supervisor(home: Path) -> Generator[subprocess.Popen[bytes]]:
    home.mkdir()
    command = [sys.executable, "-m", "control.stack.supervisor", "--home", str(home), "--free-ports"]
    with (home / "said").open("wb") as said:
        process = subprocess.Popen([*command, "--only", "postgres,nats"], stdout=said, stderr=said)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def phase(home: Path) -> str:
    found = read_state(StackPaths(home).state_file)
    return "" if found is None else found.phase


def record(home: Path) -> StackRecord:
    found = read_state(StackPaths(home).state_file)
    assert found is not None
    return found


def service(home: Path, name: str) -> ServiceRecord:
    found = record(home).service(name)
    assert found is not None
    return found


async def test_sigterm_stops_everything_in_order(home: Path) -> None:
    with supervisor(home) as process:
        await assert_eventually(lambda: phase(home) == "ready", timeout=60)
        process.terminate()
        assert process.wait(40) == 0
    assert phase(home) == "stopped"
    assert [entry for one in record(home).services for entry in members(one)] == []
    said = [json.loads(line) for line in (home / "said").read_text().splitlines() if line.startswith("{")]
    # The database outlives those that write to it.
    assert [line["service"] for line in said if line["event"] == "stopped"] == ["nats", "postgres"]
    assert all(line["killed"] == 0 for line in said if line["event"] == "stopped")


async def test_a_second_sigterm_ends_the_supervisor_at_once_and_down_does_the_rest(home: Path) -> None:
    with supervisor(home) as process:
        await assert_eventually(lambda: phase(home) == "ready", timeout=60)
        frozen = service(home, "nats").processes["nats"].pid
        os.kill(frozen, signal.SIGSTOP)  # an orderly stop would wait for it
        process.terminate()
        await assert_eventually(lambda: service(home, "nats").state == "stopping", timeout=30)
        process.terminate()
        assert process.wait(5) == 143
    assert members(service(home, "postgres"))
    down(home)
    assert [entry for one in record(home).services for entry in members(one)] == []
