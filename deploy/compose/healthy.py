"""Health check of a process of ours: `python -m deploy.compose.healthy worker` ends with 0 while that is ready."""

from __future__ import annotations

import os
import sys

from colony.config.endpoints import home_from_environment
from control.processes.ready import ready_file


def is_healthy(name: str) -> bool:
    """Whether process `name` said that it is ready and still runs."""
    try:
        pid = int(ready_file(home_from_environment(), name).read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(0 if is_healthy(sys.argv[1]) else 1)
