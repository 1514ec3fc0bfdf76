"""Logs of the services: opened for appending, cut by copy and truncate so that nobody must reopen them."""

from __future__ import annotations

import os
import shutil
from collections import deque
from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 10_000_000
KEPT: Final = 3


def open_log(path: Path) -> int:
    """A handle that always writes at the end, also after the file was cut."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def rotate(path: Path, *, largest: int = LARGEST_BYTES, kept: int = KEPT) -> bool:
    """Move the content of a log that has grown too large to `path.1`, `path.1` to `path.2` and so on.

    Lines written between copy and cut are lost, at most a few.
    """
    try:
        if path.stat().st_size < largest:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a log; empty when there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            size = path.stat().st_size
            file.seek(max(0, size - 400 * max(count, 1)))
            return [line.rstrip("\n") for line in deque(file, maxlen=count)]
    except OSError:
        return []
