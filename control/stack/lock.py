"""One supervisor for a data directory: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from colony.errors import AlreadyExists


@contextmanager
def only_one(path: Path) -> Generator[None]:
    """Hold the lock while the block runs. Raises `AlreadyExists` when another process holds it.

    The kernel lets go of it when the process dies, so there are no stale locks. Children do not inherit it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExists("Another supervisor runs this stack.", remedy="See `colony status`.") from None
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a supervisor lives. Takes the lock for an instant if there is none."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
