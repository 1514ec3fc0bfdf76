"""Memory of this machine and of a process, in bytes, as Linux says it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")

_KIB: Final = 1024
_UNLIMITED: Final = 1 << 60
"""Version 1 of control groups writes a number near 2^63 for no limit."""


class MachineMemory(NamedTuple):
    """What there is, and what processes could still take (caches of files counted as free)."""

    total: int
    available: int


class ProcessMemory(NamedTuple):
    """Memory of one process."""

    pss: int
    """Its share: pages that others map too are divided among them."""
    private: int
    """Anonymous memory: what only it can give back."""


def machine_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> MachineMemory:
    """The narrowest of the machine and the control groups this process is in."""
    fields = _fields(proc / "meminfo")
    total, available = fields.get("MemTotal", 0) * _KIB, fields.get("MemAvailable", 0) * _KIB
    for limit, used, cached in _limits(proc, cgroups):
        total = min(total, limit)
        available = min(available, max(0, limit - used + cached))
    return MachineMemory(total, available)


def process_memory(pid: int, proc: Path = PROC) -> ProcessMemory | None:
    """Memory of the process; None when it is gone or may not be read."""
    try:
        fields = _fields(proc / str(pid) / "smaps_rollup")
    except OSError:
        return None
    return ProcessMemory(fields.get("Pss", 0) * _KIB, fields.get("Anonymous", 0) * _KIB) if fields else None


def _limits(proc: Path, cgroups: Path) -> list[tuple[int, int, int]]:
    """(limit, used, of it cached files) of each control group with a limit, from ours upwards; both versions."""
    found: list[tuple[int, int, int]] = []
    for line in _text(proc / "self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            root, names = cgroups, ("memory.max", "memory.current", ("inactive_file", "active_file"))
        elif "memory" in controllers.split(","):
            root, names = (
                cgroups / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
            )
        else:
            continue
        inside = root / path.lstrip("/")
        # In a container the path may be that of the host: then only the root is there.
        for folder in (inside, *inside.parents):
            limit, used = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and used is not None and limit < _UNLIMITED:
                stat = _fields(folder / "memory.stat")
                found.append((limit, used, sum(stat.get(name, 0) for name in names[2])))
            if folder == root:
                break
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Lines `name value` or `name: value unit`."""
    pairs = (line.replace(":", " ", 1).split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}
