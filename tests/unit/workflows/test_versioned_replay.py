"""Histories of workers without a version, and without encryption, must replay with both: upgrades go through it."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from colony.config.endpoints import TemporalEndpoint
from colony.errors import ColonyError
from workflows.encryption import converter_of, key_line
from workflows.versioned import PinnedMonitor, UpgradingPipeline
from workflows.worker import SANDBOX

HISTORIES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "histories").glob("*.json"))}


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_plain_history_replays_with_a_version_and_a_key(name: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(key_line("a"))
    keys.chmod(0o600)
    replayer = Replayer(
        workflows=[UpgradingPipeline, PinnedMonitor],
        workflow_runner=SANDBOX,
        workflow_failure_exception_types=[ColonyError],
        data_converter=converter_of(TemporalEndpoint(address="", codec_key_file=str(keys))),
    )
    history = WorkflowHistory.from_json(name, HISTORIES[name])
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None
