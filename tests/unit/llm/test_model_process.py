from __future__ import annotations

import os
from pathlib import Path

import pytest

from colony.config.endpoints import ModelEndpoint
from colony.config.model import ModelConfig
from colony.errors import BadInput, NotFound
from control.processes.model import ModelSettings, find_weights, settings_from

WEIGHTS = Path("weights.gguf")


def settings(environment: dict[str, str], endpoint: ModelEndpoint | None = None) -> ModelSettings:
    return settings_from(environment, endpoint, ModelConfig(slots=3, context=512), WEIGHTS)


def test_the_variable_beats_the_recorded_endpoint(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("recorded\n")
    (tmp_path / "other").write_text("given\n")
    endpoint = ModelEndpoint(url="http://127.0.0.1:9001", key_file=str(tmp_path / "key"))
    recorded = settings({}, endpoint)
    assert (recorded.port, recorded.key, recorded.slots, recorded.context) == (9001, "recorded", 3, 512)
    given = settings({"COLONY_MODEL_PORT": "9002", "COLONY_MODEL_KEY_FILE": str(tmp_path / "other")}, endpoint)
    assert (given.port, given.key) == (9002, "given")


def test_threads_are_the_cores_of_this_process_unless_told() -> None:
    assert settings({"COLONY_MODEL_PORT": "1"}).threads == len(os.sched_getaffinity(0))
    assert settings({"COLONY_MODEL_PORT": "1", "COLONY_MODEL_THREADS": "7"}).threads == 7


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "8080x", "\u0661\u0662", "9" * 5000])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(BadInput, match="COLONY_MODEL_PORT is not a number from 1 to 65535"):
        settings({"COLONY_MODEL_PORT": port})


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nokey"):
        settings({"COLONY_MODEL_PORT": "1", "COLONY_MODEL_KEY_FILE": str(tmp_path / "nokey")})


def test_the_weights_are_found_without_importing_their_package() -> None:
    path = find_weights()
    assert path.suffix == ".gguf"
    assert path.stat().st_size > 50_000_000
