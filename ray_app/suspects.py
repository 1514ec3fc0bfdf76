"""When work that was in flight when its host died is run with care, or not at all (docs/adr/0002)."""

from __future__ import annotations

from typing import Final

ALONE_FROM: Final = 2
"""What was in flight this often when its host died runs alone."""

CRASHED_FROM: Final = 3
"""And this often, it is failed without being run."""
