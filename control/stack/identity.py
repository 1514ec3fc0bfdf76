"""Who a process is: pid and start time together, so that a reused pid is never taken for ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from colony.contracts import Frozen

PROC = Path("/proc")


class Identity(Frozen):
    """One process life."""

    pid: int
    started: int
    """Clock ticks since boot, field 22 of `/proc/<pid>/stat`."""


class Entry(NamedTuple):
    """What `/proc/<pid>/stat` says of a living process."""

    identity: Identity
    name: str
    parent: int
    session: int


def boot_id() -> str:
    """Changes with every boot: identities of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_entry(pid: int) -> Entry | None:
    """The living process `pid`; None when there is none or it only waits to be reaped."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[0] in ("Z", "X"):
        return None
    return Entry(Identity(pid=pid, started=int(fields[19])), name, int(fields[1]), int(fields[3]))


def identify(pid: int) -> Identity | None:
    """The identity of the living process `pid`."""
    entry = read_entry(pid)
    return None if entry is None else entry.identity


def alive(identity: Identity) -> bool:
    """Whether this very process lives."""
    return identify(identity.pid) == identity


def all_entries() -> list[Entry]:
    """Every living process that can be seen."""
    found = (read_entry(int(folder.name)) for folder in PROC.iterdir() if folder.name.isdigit())
    return [entry for entry in found if entry is not None]


def family(leader: Identity, entries: Iterable[Entry]) -> list[Entry]:
    """All members of the session that `leader` opened and everything below them, from a snapshot. Pure.

    A pid is not given away again while a session of that number has members; so members found by session are ours,
    unless the leader's pid now belongs to a process of another start time.
    """
    entries = list(entries)
    by_pid = {entry.identity.pid: entry for entry in entries}
    now = by_pid.get(leader.pid)
    if now is not None and now.identity != leader:
        return []
    chosen = {
        entry.identity.pid
        for entry in entries
        if entry.session == leader.pid and entry.identity.started >= leader.started
    }
    grew = True
    while grew:
        below = {entry.identity.pid for entry in entries if entry.parent in chosen} - chosen
        chosen |= below
        grew = bool(below)
    return [by_pid[pid] for pid in sorted(chosen)]


def send(identity: Identity, number: signal.Signals) -> None:
    """Signal this very process; nothing happens when it is gone."""
    if alive(identity):
        with suppress(ProcessLookupError):
            os.kill(identity.pid, number)
