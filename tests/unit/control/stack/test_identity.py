"""Processes are told by pid and start time, and their families by session and parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from control.stack.identity import Entry, Identity, alive, all_entries, family, identify, send

LEADER = Identity(pid=100, started=1000)


def entry(pid: int, *, parent: int = 1, session: int = 1, started: int = 1000) -> Entry:
    return Entry(Identity(pid=pid, started=started), "x", parent, session)


def pids(entries: list[Entry]) -> list[int]:
    return [found.identity.pid for found in entries]


def test_a_family_is_the_session_and_all_below_it() -> None:
    entries = [
        entry(100, session=100),
        entry(101, session=100, parent=1),  # an orphan of the session
        entry(102, session=102, parent=101),  # below it, with a session of its own
        entry(103, session=103, parent=102),
        entry(200, session=200),
    ]
    assert pids(family(LEADER, entries)) == [100, 101, 102, 103]


def test_a_family_outlives_its_leader() -> None:
    assert pids(family(LEADER, [entry(101, session=100), entry(102, session=102, parent=101)])) == [101, 102]


def test_a_reused_pid_is_no_family_of_ours() -> None:
    stranger = [entry(100, session=100, started=9999), entry(101, session=100, started=9999)]
    assert family(LEADER, stranger) == []


def test_processes_older_than_the_leader_are_never_ours() -> None:
    assert family(LEADER, [entry(101, session=100, started=5)]) == []


def test_we_are_alive_and_nobody_else_with_our_pid_is() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert alive(me)
    assert not alive(Identity(pid=me.pid, started=me.started + 1))


def test_a_zombie_is_dead_and_gets_no_signal() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = identify(child.pid)
    assert started is not None
    assert child.stdin is not None
    child.stdin.close()  # it ends with an error, and nobody reaps it yet
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not alive(started)
    send(started, signal.SIGKILL)
    assert child.wait() == 1


def test_a_real_session_is_found_with_its_orphans() -> None:
    script = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    leader = identify(child.pid)
    assert leader is not None
    try:
        deadline = time.monotonic() + 30
        while "sleep" not in [found.name for found in family(leader, all_entries())] and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
        child.wait()
        left = family(leader, all_entries())
        assert [found.name for found in left] == ["sleep"]
    finally:
        for found in family(leader, all_entries()):
            send(found.identity, signal.SIGKILL)
