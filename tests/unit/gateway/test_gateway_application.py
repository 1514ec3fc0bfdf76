"""What Serve is told, and what the keeper does about what Serve says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from colony.config.gateway import BackendConfig, GatewayConfig
from colony.config.model import Config
from colony.ids import Id
from control.stack.paths import StackPaths
from ray_app.gateway.application import (
    IMPORT_PATH,
    NAME,
    ServeState,
    Step,
    serve_config,
    stack_tag,
    step,
    trouble_of,
    version_of,
)

ROOT = Path(__file__).resolve().parents[3]
ARGS = {"home": "/somewhere", "version": "1", "attempt": 0}


def state(status: str = "RUNNING", args: dict[str, Any] | None = None, path: str = IMPORT_PATH) -> ServeState:
    deployed = {"import_path": path, "args": ARGS if args is None else args}
    running = {"status": status, "deployed_app_config": deployed, "more": 1}
    return ServeState.model_validate({"applications": {NAME: running}, "proxies": {}})


def test_the_file_for_serve_deploy_says_what_the_stack_says() -> None:
    assert yaml.safe_load((ROOT / "deploy/serve.yaml").read_text(encoding="utf-8")) == serve_config({})


def test_the_tag_is_that_of_the_stack() -> None:
    assert stack_tag(Path("/some/home")) == StackPaths(Path("/some/home")).tag


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (ServeState(), Step.DEPLOY),
        (state(), Step.NOTHING),
        (state(args={**ARGS, "attempt": 7}), Step.NOTHING),
        (state(args={**ARGS, "version": "0"}), Step.DEPLOY),
        (state(path="other:app"), Step.DEPLOY),
        (state("DEPLOYING"), Step.WAIT),
        (state("UNHEALTHY"), Step.WAIT),
        (state("DEPLOY_FAILED"), Step.DEPLOY),
    ],
)
def test_only_what_is_missing_changed_or_given_up_is_deployed(found: ServeState, wanted: Step) -> None:
    assert step(found, ARGS) is wanted


def test_what_was_deployed_by_hand_is_left_alone_once_the_own_one_ran() -> None:
    assert step(state(args={}), ARGS) is Step.DEPLOY
    assert step(state(args={}), ARGS, by_hand=True) is Step.NOTHING
    assert step(state(args={"home": "/elsewhere"}), ARGS, by_hand=True) is Step.DEPLOY
    assert step(state("DEPLOY_FAILED", args={}), ARGS, by_hand=True) is Step.DEPLOY


def test_the_version_follows_what_the_gateway_reads_and_nothing_else() -> None:
    config = Config()
    backend = BackendConfig(kind="scripted")
    changed = config.model_copy(update={"gateway": GatewayConfig(backends={Id("echo"): backend})})
    fleet = config.model_copy(update={"fleet": config.fleet.model_copy(update={"hosts": config.fleet.hosts + 1})})
    assert version_of(config) == version_of(fleet) != version_of(changed)


def test_the_last_line_of_what_serve_says_is_the_trouble() -> None:
    message = "Traceback\n  File x\nRuntimeError: no ledger\n\n"
    running = {"message": "Failed.", "deployments": {"gateway-owner": {}, "gateway": {"message": message}}}
    assert trouble_of(ServeState.model_validate({"applications": {NAME: running}})) == "RuntimeError: no ledger"
    assert trouble_of(ServeState()) == ""
