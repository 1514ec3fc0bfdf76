"""What `colony up` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Orders:
    """Which stack to run, and how."""

    home: Path
    config: Path | None
    profile: str
    only: tuple[str, ...]
    """Services to start; all of them when empty."""
    usual_ports: bool
    """Whether to take the ports that client programs expect, where they are free."""
