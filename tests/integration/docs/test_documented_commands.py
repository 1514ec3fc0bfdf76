"""Every command of the documentation works, in order, document by document, on a full stack.

A block below `<!-- not run: reason -->` is left out, and lines of `make`: a unit test says that their targets exist.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from control.stack.binaries import find_binaries
from tests.documents import DOCUMENTS, ROOT, blocks, name_of
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def script_of(document: Path) -> str:
    """What a reader would type, as one script."""
    lines = [line for block in blocks(document, "console") if not block.reason for line in block.lines]
    return "\n".join(line for line in lines if not line.startswith(("make ", "#")))


RUNNABLE = [document for document in DOCUMENTS if script_of(document)]


@pytest.fixture(scope="module")
def reader(full_stack: RunningStack) -> Generator[RunningStack]:
    """The stack, with what a reader sees in the repository's folder; the fleet is as before in the end."""
    links = {"bin": ROOT / "bin", ".venv": Path(sys.prefix), "deploy_agents.py": ROOT / "deploy_agents.py"}
    for name, target in links.items():
        (full_stack.folder / name).symlink_to(target)
    shutil.copytree(ROOT / "examples", full_stack.folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    yield full_stack
    full_stack.deploy("--count", "620", "--type", "probe=0")
    for name in links:
        (full_stack.folder / name).unlink()
    shutil.rmtree(full_stack.folder / "examples")


@pytest.mark.parametrize("document", RUNNABLE, ids=name_of)
def test_commands_of_a_document_work(document: Path, reader: RunningStack) -> None:
    consul = find_binaries().consul
    assert consul is not None
    environment = {**reader.environment, "PATH": f"{os.environ['PATH']}{os.pathsep}{consul.parent}"}
    del environment["PYTHONPATH"]
    done = subprocess.run(
        ["bash", "-c", f"set -eux\n{script_of(document)}"],
        cwd=reader.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
