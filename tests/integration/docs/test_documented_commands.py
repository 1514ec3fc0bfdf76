"""Every command of the documentation works, in order, document by document, on a full stack.

A block below `<!-- not run: reason -->` is left out, and lines of `make`: a unit test says that their targets exist.
A line that an earlier document has too runs there only.
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

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def scripts() -> dict[Path, str]:
    """What a reader would type, document by document, each as one script."""
    seen: set[str] = set()
    found: dict[Path, str] = {}
    for document in DOCUMENTS:
        lines = [line for block in blocks(document, "console") if not block.reason for line in block.lines]
        mine = [line for line in lines if not line.startswith(("make ", "#")) and line not in seen]
        seen |= {line for line in mine if not line.startswith(SHELL_STATE)}
        if any(not line.startswith(SHELL_STATE) for line in mine):
            found[document] = "\n".join(mine)
    return found


SHELL_STATE = ("eval ", "export ")
SCRIPTS = scripts()


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


@pytest.mark.parametrize("document", SCRIPTS, ids=name_of)
def test_commands_of_a_document_work(document: Path, reader: RunningStack) -> None:
    consul = find_binaries().consul
    assert consul is not None
    environment = {**reader.environment, "PATH": f"{os.environ['PATH']}{os.pathsep}{consul.parent}"}
    del environment["PYTHONPATH"]
    done = subprocess.run(
        ["bash", "-c", f"set -eux\n{SCRIPTS[document]}"],
        cwd=reader.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
