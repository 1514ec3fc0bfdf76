"""One full stack with a small fleet for all integration tests that only use it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.running_stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def full_stack() -> Generator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="ci-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with running_stack(folder / "h", folder) as stack:
            stack.deploy("--count", "620")
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)
