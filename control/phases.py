"""Say what a long command does, and how long each part of it took."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console


class Phases:
    """Numbered phases on a console, each with its time."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def phase(self, what: str) -> Generator[None]:
        """Announce `what`, run the block, say how long it took. Nothing is said about a block that raises."""
        self._number += 1
        self._console.print(f"[bold][{self._number}/{self._total}] {what}[/]", highlight=False)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.times.append((what, seconds))
        self._console.print(f"      done in {seconds:.1f} s", style="dim", highlight=False)
