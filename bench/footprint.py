"""Memory of the whole stack: proportional set size of each process, and the total."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.result import BenchResult, environment, spread
from control.session import endpoints_here
from control.stack.paths import StackPaths
from control.stack.status import stack_status

SAMPLES = 3
LIMIT_MB = 2_000.0
"""The stack should stay below this without a model."""


async def run(console: Console) -> BenchResult:
    """Sample the processes of the running stack, some seconds apart."""
    samples: list[dict[str, float]] = []
    status: dict[str, Any] = {}
    paths = StackPaths(Path(endpoints_here().home))
    for number in range(SAMPLES):
        if number:
            await asyncio.sleep(2.0)
        status = await asyncio.to_thread(stack_status, paths)
        samples.append({name: float(service["pss_mb"] or 0) for name, service in status["services"].items()})
        console.print(f"  sample {number + 1}/{SAMPLES}: {sum(samples[-1].values()):,.0f} MB", highlight=False)
    names = sorted({name for sample in samples for name in sample})
    totals = [sum(sample.values()) for sample in samples]
    return BenchResult(
        name="footprint",
        metrics={
            "total_pss_mb": spread(totals).model_dump(),
            "pss_mb": {name: spread([sample.get(name, 0.0) for sample in samples]).model_dump() for name in names},
            "agents": status["fleet"]["desired"],
            "pss_mb_per_agent": round(totals[-1] / max(1, status["fleet"]["desired"]), 3),
        },
        baseline={"name": "limit for the stack without a model", "total_pss_mb": LIMIT_MB},
        ratio=round(spread(totals).median / LIMIT_MB, 3),
        environment=environment(),
    )
