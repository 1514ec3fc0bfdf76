"""Shows logs on standard output, several at once with the service's name before each line."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from control.stack.logfiles import last_lines

LOOK_EVERY = 0.3


def show_logs(folder: Path, names: Sequence[str], *, lines: int, follow: bool) -> None:
    """Print the last `lines` of each log; with `follow` go on until interrupted, also over rotations."""
    width = max(len(name) for name in names) if len(names) > 1 else 0
    places = {name: _size(folder / f"{name}.log") for name in names}
    for name in names:
        for line in last_lines(folder / f"{name}.log", lines):
            _print(name, width, line)
        if len(names) == 1 and not places[name]:
            sys.stderr.write(f"The log of {name} is empty ({folder / f'{name}.log'}).\n")
    while follow:
        for name in names:
            path = folder / f"{name}.log"
            size = _size(path)
            start = 0 if size < places[name] else places[name]
            if size > start:
                with path.open(encoding="utf-8", errors="replace") as file:
                    file.seek(start)
                    for line in file.read().splitlines():
                        _print(name, width, line)
                    places[name] = file.tell()
            else:
                places[name] = start
        time.sleep(LOOK_EVERY)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _print(name: str, width: int, line: str) -> None:
    sys.stdout.write(f"{name:{width}} | {line}\n" if width else f"{line}\n")
    sys.stdout.flush()
