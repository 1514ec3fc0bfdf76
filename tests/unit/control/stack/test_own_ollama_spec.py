"""When a stack runs an Ollama of its own, and what that is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from colony.config.model import Config
from colony.errors import BadInput
from control.stack import ollama
from control.stack.binaries import OLLAMA_VERSION
from control.stack.context import StackContext
from control.stack.paths import StackPaths
from control.stack.ports import choose_ports

PORTS = choose_ports(configured={}, remembered={}, usual={}, ours=frozenset(), seed=7, is_free=lambda _: True)


def context(home: Path, **backends: dict[str, Any]) -> StackContext:
    return StackContext(
        paths=StackPaths(home),
        config=Config.model_validate({"gateway": {"backends": backends}}),
        config_file="",
        folder=home,
        profile="embedded",
        ports=PORTS,
        providers={},
    )


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the build of Ollama would be, with nothing on PATH."""
    monkeypatch.setenv("COLONY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    return tmp_path / "cache" / "servers" / f"ollama-{OLLAMA_VERSION}" / "ollama"


def test_only_a_backend_without_an_address_asks_for_it(tmp_path: Path) -> None:
    own = {"kind": "ollama"}
    elsewhere = {"kind": "ollama", "urls": ["http://127.0.0.1:11434"]}
    assert not ollama.runs_here(context(tmp_path, there=elsewhere, echo={"kind": "scripted"}))
    assert ollama.address(context(tmp_path, there=elsewhere)) == ""
    assert ollama.address(context(tmp_path, here=own, there=elsewhere)) == f"http://127.0.0.1:{PORTS['ollama']}"
    with pytest.raises(ValidationError, match="needs urls"):
        context(tmp_path, large={"kind": "vllm"})


def test_without_a_program_the_remedy_is_told(tmp_path: Path, built: Path) -> None:
    with pytest.raises(BadInput) as refused:
        ollama.spec(context(tmp_path, here={"kind": "ollama"}))
    assert "make servers SERVERS=ollama" in refused.value.remedy
    assert not built.exists()


def test_it_keeps_to_loopback_and_to_its_own_folder(
    tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.parent.mkdir(parents=True)
    built.touch(mode=0o755)
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0")
    found = ollama.spec(context(tmp_path, a={"kind": "ollama", "slots": 2}, b={"kind": "ollama", "slots": 6}))
    assert found.command == (str(built), "serve")
    assert found.provider == f"Ollama {OLLAMA_VERSION}"
    assert found.environment["OLLAMA_HOST"] == f"127.0.0.1:{PORTS['ollama']}"
    assert found.environment["OLLAMA_NUM_PARALLEL"] == "6"
    for name in ("HOME", "OLLAMA_MODELS"):
        assert Path(found.environment[name]).is_relative_to(tmp_path)
