"""How a process of ours says that it is ready: a file with its pid, written last and removed first.

Those with an event loop touch the file from it: a process that hangs falls silent.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

BEAT_SECONDS: Final = 2.0


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


@asynccontextmanager
async def ready_and_beating(home: Path, name: str) -> AsyncGenerator[None]:
    """Like `ready`, and say every 2 s that the event loop runs."""
    with ready(home, name):
        beats = asyncio.create_task(_beat(ready_file(home, name)), name="sign of life")
        try:
            yield
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)


async def _beat(path: Path) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        with suppress(OSError):
            os.utime(path)


def is_ready(home: Path, name: str, pid: int, *, oldest: float | None = None) -> bool:
    """Whether the process with this pid has said so, at most `oldest` seconds ago where that is given."""
    path = ready_file(home, name)
    try:
        said = path.read_text(encoding="ascii") == str(pid)
        return said and (oldest is None or time.time() - path.stat().st_mtime <= oldest)
    except OSError:
        return False
