"""What `make servers` reads from the pinned modules, and what bootstrap reads from the lock file."""

from __future__ import annotations

from pathlib import Path

import pytest

import bootstrap
from colony.errors import BadInput, Unavailable
from control.servers_build import SERVERS, chosen_servers, find_compilers, needed_go, pinned_version
from control.stack.binaries import CONSUL_VERSION, TEMPORAL_UI_VERSION, TEMPORAL_VERSION
from tests.servers import ollama

ROOT = Path(__file__).resolve().parents[3]


def go_mod(name: str) -> str:
    return (ROOT / "servers" / name / "go.mod").read_text(encoding="utf-8")


def test_the_stack_looks_for_the_versions_that_are_built() -> None:
    assert pinned_version(go_mod("temporal"), "go.temporal.io/server") == TEMPORAL_VERSION
    assert pinned_version(go_mod("temporal-ui"), "github.com/temporalio/ui-server/v2") == TEMPORAL_UI_VERSION
    assert pinned_version(go_mod("consul"), "github.com/hashicorp/consul") == CONSUL_VERSION
    assert pinned_version(go_mod("ollama"), "github.com/ollama/ollama") == ollama.VERSION


def test_the_go_version_is_read() -> None:
    assert needed_go(go_mod("temporal")) == (1, 26, 4)
    with pytest.raises(BadInput):
        needed_go("module x")
    with pytest.raises(BadInput):
        pinned_version("module x", "y")


def test_ollama_is_built_on_request_only() -> None:
    assert [server.name for server in chosen_servers([])] == ["temporal", "temporal-ui", "consul"]
    assert [server.name for server in chosen_servers(["ollama"])] == [server.name for server in SERVERS]
    with pytest.raises(BadInput, match="redis"):
        chosen_servers(["redis"])


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    mine = tmp_path / "mycc"
    mine.touch(mode=0o755)
    environment = {"PATH": str(tmp_path), "CC": "mycc -O1"}
    with pytest.raises(Unavailable, match=r"C\+\+ compiler 'g\+\+'"):
        find_compilers(environment)
    assert find_compilers({**environment, "CXX": "mycc"}) == (str(mine), str(mine))


@pytest.mark.parametrize(
    ("system", "machine", "c_library", "part"),
    [
        ("linux", "x86_64", "glibc", "manylinux_2_17_x86_64"),
        ("linux", "aarch64", "glibc", "aarch64"),
        ("linux", "x86_64", "musl", "musllinux_1_1_x86_64"),
        ("darwin", "arm64", "glibc", "macosx_11_0_arm64"),
    ],
)
def test_the_lock_file_has_a_checked_uv_for_each_machine(system: str, machine: str, c_library: str, part: str) -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    version, url, digest = bootstrap.locked_uv(lock, system, machine, c_library)
    assert part in url
    assert version in url
    assert len(digest) == 64


def test_a_machine_without_a_wheel_gets_a_message() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="no wheel of uv"):
        bootstrap.locked_uv(lock, "linux", "sparc64", "glibc")
