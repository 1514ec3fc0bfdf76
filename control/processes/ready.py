"""How a process of ours says that it is ready: a file with its pid, written last and removed first."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def ready_file(home: Path, name: str) -> Path:
    """Where process `name` says that it is ready; it holds the pid."""
    return home / "run" / f"{name}.ready"


@contextmanager
def ready(home: Path, name: str) -> Generator[None]:
    """Say that this process is ready for as long as the block runs."""
    path = ready_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(str(os.getpid()), encoding="ascii")
    fresh.replace(path)
    try:
        yield
    finally:
        if is_ready(home, name, os.getpid()):
            path.unlink(missing_ok=True)


def is_ready(home: Path, name: str, pid: int) -> bool:
    """Whether the process with this pid has said so."""
    try:
        return ready_file(home, name).read_text(encoding="ascii") == str(pid)
    except OSError:
        return False
