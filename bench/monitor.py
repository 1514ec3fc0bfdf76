"""What watching 1,000 sites every 60 s costs: seconds of processor of all processes of the stack, idle taken off.

The sites are one process of the bench; its own time does not count. Time is not sped up unless asked for: with a
shorter interval the same rounds come faster, and the cost is scaled back by the ratio of the intervals, which is on
the side of too much (rounds are fewer and larger with 60 s).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console

from bench.result import BenchResult, at_least, at_most, environment
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.demo_sites import PORTS
from control.session import endpoints_here, ledger_here, temporal_here
from control.settings import data_roots, load_settings
from control.watch import wait_for_job
from workflows.client import cancel_job, start_job

SITES: Final = 1_000
INTERVAL: Final = 60.0
MEASURED: Final = 120.0
TARGET: Final = 0.20
"""Share of one core, at most."""
ON_TIME: Final = 0.95
"""Checks made in the time measured, by those due in it: rounds at its edges fall to either side."""

_IDLE: Final = 30.0
_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n" + b"x" * 2000


async def run(console: Console, *, quick: bool = False) -> BenchResult:
    """Measure the running stack, which must list the demo's ports under `fetch.allow_private`."""
    interval, measured = (INTERVAL / 4, MEASURED / 4) if quick else (INTERVAL, MEASURED)
    port = PORTS[0]
    with _site(port):
        idle = await _share(_IDLE)
        async with temporal_here() as client, ledger_here() as ledger:
            source = _data_root() / f"colony-bench-sites-{os.getpid()}.csv"
            lines = [f"http://127.0.0.1:{port}/{number},site-{number}" for number in range(SITES)]
            source.write_text("url,name\n" + "\n".join(lines) + "\n")
            given = {"source": source.name, "interval": interval}
            started = await start_job(client, "website_monitor", given)
            try:
                view = await wait_for_job(ledger, started.key, timeout=60.0)
                await _all_up(ledger, view.job, interval)
                before = await _checks(ledger, view.job)
                busy = await _share(measured)
                checks = await _checks(ledger, view.job) - before
            finally:
                source.unlink(missing_ok=True)
                await cancel_job(client, started.workflow_id)
    # Only what a process takes more than idle counts, so that one that was busy with something else hides nothing.
    raw = sum(max(0.0, used - idle.get(name, 0.0)) for name, used in busy.items())
    share = raw * interval / INTERVAL
    console.print(f"  {checks} checks in {measured:.0f} s, {share:.1%} of a core at {INTERVAL:.0f} s", highlight=False)
    expected = round(SITES * measured / interval)
    return BenchResult(
        name="monitor",
        metrics={
            "sites": SITES,
            "interval_measured": interval,
            "checks": checks,
            "checks_expected": expected,
            "share_of_a_core": round(share, 4),
            "share_measured": round(raw, 4),
            "ms_of_processor_per_check": round(raw * measured * 1000 / max(1, checks), 2),
            "by_process": {name: round(busy[name] - idle.get(name, 0.0), 4) for name in sorted(busy)},
            "idle": round(sum(idle.values()), 4),
            "profile": endpoints_here().profile,
        },
        baseline={"name": "the target", "share_of_a_core": TARGET},
        ratio=round(TARGET / share, 2) if share else None,
        environment=environment(),
        targets=(
            at_most(f"share of a core for {SITES:,} sites every {INTERVAL:.0f} s", share, TARGET),
            at_least("checks made, by those due", checks / expected, ON_TIME),
        ),
    )


def _data_root() -> Path:
    endpoints = endpoints_here()
    return data_roots(endpoints, load_settings(endpoints).config)[0]


async def _all_up(ledger: Ledger, job: int, interval: float) -> None:
    """Wait until every site was checked once. Raises `Permanent` when one cannot be."""
    deadline = time.monotonic() + 3 * interval + 60
    while True:
        rows = await ledger.sites(job)
        wrong = next((row.memory.problem for row in rows if row.memory.problem), "")
        if wrong:
            raise Permanent(
                f"A site of the bench cannot be checked: {wrong}",
                remedy="List 127.0.0.1:18651 under fetch.allow_private, as `make demo-monitor` does.",
            )
        if all(row.memory.checked_at for row in rows):
            return
        if time.monotonic() > deadline:
            raise Permanent("Not all sites were checked in time.")
        await asyncio.sleep(1.0)


async def _checks(ledger: Ledger, job: int) -> int:
    return sum(row.checks for row in await ledger.site_checks(job, 0))


async def _share(seconds: float) -> dict[str, float]:
    """Process name -> seconds of processor a second, of all processes of the stack."""
    before, started = _times(), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed = _times(), time.monotonic() - started
    shares: dict[str, float] = {}
    for pid, (name, used) in after.items():
        shares[name] = shares.get(name, 0.0) + (used - before.get(pid, (name, 0.0))[1]) / passed
    return shares


def _times() -> dict[int, tuple[str, float]]:
    """Processor seconds of each process of the stack: the supervisor and all below it."""
    home = str(endpoints_here().home)
    own = psutil.Process()
    ours = {own.pid, *(child.pid for child in own.children(recursive=True))}
    found: dict[int, tuple[str, float]] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("COLONY_HOME") != home or process.pid in ours:
                continue
            for each in (process, *process.children(recursive=True)):
                used = each.cpu_times()
                found[each.pid] = (_name(each), used.user + used.system)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    module = next((word for word in words if word.startswith("control.")), "")
    return (module or process.name())[:40]


@contextmanager
def _site(port: int) -> Generator[None]:
    """A page on loopback, in a process of its own."""
    process: Any = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve(port: int) -> None:
    asyncio.run(_serve_for_ever(port))


async def _serve_for_ever(port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_PAGE)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()
