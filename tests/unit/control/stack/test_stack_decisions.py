"""The small decisions of the stack: delays, paths, exports, dynamic configuration, logs, locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.endpoints import (
    Endpoints,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.errors import AlreadyExists, NotPermitted
from control.stack.backoff import LONGEST_SECONDS, SETTLED_SECONDS, deaths_after, restart_delay
from control.stack.environment import as_exports, client_environment
from control.stack.lock import is_held, only_one
from control.stack.logfiles import last_lines, open_log, rotate
from control.stack.paths import LONGEST_RAY_FOLDER, StackPaths, make_private_folder
from control.stack.spec import ServiceSpec
from control.stack.temporal import DYNAMIC_CONFIG, dynamic_values


@given(st.integers(1, 1000), st.floats(0, 0.999))
def test_a_delay_is_bounded_and_never_nothing(deaths: int, jitter: float) -> None:
    assert 0.1 <= restart_delay(deaths, jitter) <= LONGEST_SECONDS


def test_delays_grow_and_start_again_after_a_settled_life() -> None:
    assert restart_delay(1, 0) < restart_delay(2, 0) < restart_delay(3, 0)
    assert deaths_after(7, SETTLED_SECONDS - 1) == 8
    assert deaths_after(7, SETTLED_SECONDS) == 1


def test_ray_gets_a_short_folder_however_deep_the_home_is() -> None:
    for home in (Path("/x"), Path("/very" * 30)):
        assert len(str(StackPaths(home).ray)) <= LONGEST_RAY_FOLDER
    assert StackPaths(Path("/a" * 60)).ray != StackPaths(Path("/b" * 60)).ray


def test_a_home_below_a_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotPermitted, match="cannot be written") as refused:
        StackPaths(tmp_path / "file" / "home").make()
    assert "--home" in refused.value.remedy


def test_a_planted_link_is_not_taken_for_our_folder(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(NotPermitted):
        make_private_folder(tmp_path / "link")


def test_exports_name_files_and_never_hold_a_secret(tmp_path: Path) -> None:
    endpoints = Endpoints(
        home=str(tmp_path / "a home"),
        folder="/",
        postgres=PostgresEndpoint(host="127.0.0.1", port=1, password_file="/s/postgres-colony"),
        temporal=TemporalEndpoint(address="127.0.0.1:2"),
        nats=NatsEndpoint(url="nats://127.0.0.1:3", credentials="/s"),
        registry=RegistryEndpoint(kind="consul", address="http://127.0.0.1:4", credentials="/s"),
        ray=RayEndpoint(address="127.0.0.1:5", token_file="/s/ray-token"),
    )
    variables = client_environment(endpoints)
    assert variables["RAY_AUTH_TOKEN_PATH"] == "/s/ray-token"
    assert variables["CONSUL_HTTP_TOKEN_FILE"] == "/s/consul-client"
    shell = f'{as_exports(variables)}\nprintf %s "$COLONY_HOME"'
    assert subprocess.run(["sh", "-c", shell], capture_output=True, text=True).stdout == str(tmp_path / "a home")


def test_the_dynamic_configuration_fits_both_servers() -> None:
    values = dynamic_values(DYNAMIC_CONFIG.read_text(encoding="utf-8"))
    assert values["matching.numTaskqueueReadPartitions"] == 1
    assert values["history.transferProcessorMaxPollRPS"] == 200


def test_a_rotated_log_is_written_on_by_the_same_handle(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    handle = open_log(log)
    try:
        for number in range(5):
            os.write(handle, f"{number}\n".encode() * 10)
            assert rotate(log, largest=20, kept=3)
        os.write(handle, b"last\n")
    finally:
        os.close(handle)
    assert log.read_text(encoding="ascii") == "last\n"
    assert [last_lines(tmp_path / f"x.log.{number}", 1) for number in (1, 2, 3)] == [["4"], ["3"], ["2"]]
    assert not (tmp_path / "x.log.4").exists()
    assert not rotate(tmp_path / "none.log")


def test_the_lock_excludes_and_ends_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    script = (
        "import sys, time; from pathlib import Path; from control.stack.lock import only_one\n"
        "with only_one(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        assert is_held(lock)
        with pytest.raises(AlreadyExists), only_one(lock):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert not is_held(lock)
    with only_one(lock):
        assert is_held(lock)


def test_a_service_is_recognised_from_another_shell_but_not_with_other_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def probe(_pid: int) -> bool:
        return True

    def fingerprint(**more: str) -> str:
        environment = {**os.environ, **more}
        return ServiceSpec("x", "", "", ("run",), environment, Path("/"), probe).fingerprint

    monkeypatch.setenv("SHLVL", "1")
    first = fingerprint(RAY_AUTH_MODE="token")
    monkeypatch.setenv("SHLVL", "2")
    assert fingerprint(RAY_AUTH_MODE="token") == first
    assert fingerprint(RAY_AUTH_MODE="disabled") != first
