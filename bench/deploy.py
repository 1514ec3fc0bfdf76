"""Time from the command to the proof for fleets of several sizes; the fleet of before is restored at the end."""

from __future__ import annotations

import time

from rich.console import Console

from bench.result import BenchResult, environment, spread
from colony.errors import Permanent
from control.deploy import deploy
from control.session import ledger_here

SIZES = (620, 10_000, 100_000)
RUNS = {620: 3, 10_000: 3, 100_000: 1}
SMALLEST = 5
"""Each run starts from a fleet of this size, so that nearly every agent is new."""


async def run(console: Console, *, sizes: tuple[int, ...] = SIZES) -> BenchResult:
    """Deploy each size from a nearly empty fleet; every agent must answer and pass."""
    quiet = Console(quiet=True)
    before = await _agents()
    seconds: dict[int, list[float]] = {}
    for size in sizes:
        for _ in range(RUNS.get(size, 1)):
            await deploy(SMALLEST, [], None, dry_run=False, console=quiet, timeout=900.0)
            started = time.monotonic()
            done = await deploy(size, [], None, dry_run=False, console=quiet, timeout=900.0)
            seconds.setdefault(size, []).append(time.monotonic() - started)
            if done.proof is None or sum(done.proof.answered.values()) != size:
                raise Permanent(f"Only {done.proof} of {size} agents were proven.")
            console.print(f"  {size:,} agents: {seconds[size][-1]:.1f} s to proven", highlight=False)
    await deploy(max(before, SMALLEST), [], None, dry_run=False, console=quiet, timeout=900.0)
    return BenchResult(
        name="deploy",
        metrics={f"seconds_{size}": spread(values).model_dump() for size, values in seconds.items()},
        baseline={},
        ratio=None,
        environment=environment(),
    )


async def _agents() -> int:
    async with ledger_here() as ledger:
        return len(await ledger.agents())
