"""One stack for all chaos tests; each waits until it is whole again before and after its fault."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.running_stack import RunningStack, running_stack


@pytest.fixture(scope="module")
def chaos_stack() -> Generator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    folder.chmod(0o755)
    config = folder / "agent_config.yaml"
    shutil.copy(Path(__file__).with_name("agent_config.yaml"), config)
    try:
        with running_stack(folder / "h", folder, config) as stack:
            stack.deploy("--count", "100")
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)
