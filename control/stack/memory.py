"""Memory of a set of processes as proportional set size: shared pages are counted once."""

from __future__ import annotations

from collections.abc import Iterable

from control.stack.identity import PROC, Entry


def pss_mb(entries: Iterable[Entry]) -> float | None:
    """Megabytes (10^6 bytes) these processes hold together; None when not one of them may be read."""
    found = [value for entry in entries if (value := _pss_kib(entry.identity.pid)) is not None]
    return round(sum(found) * 1024 / 1e6, 1) if found else None


def _pss_kib(pid: int) -> int | None:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return None
