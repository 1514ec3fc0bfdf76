"""`website_build` of the example brief: seconds from the start call to the finished site."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from agents.skills.website_report import parse_site_report
from bench.result import BenchResult, at_most, environment, spread
from colony.contracts import JobState
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.deploy import deploy
from control.session import endpoints_here, ledger_here, temporal_here
from control.settings import load_settings
from control.watch import wait_for_job
from workflows.client import await_job, start_job

RUNS: Final = 3
TARGET_SECONDS: Final = 120.0
BRIEF: Final = Path(__file__).parents[1] / "examples" / "brief.yaml"
_AGENTS: Final = 620


async def run(console: Console, *, quick: bool = False) -> BenchResult:
    """Build the site without a model, then with it where the stack has one; every check of it must pass."""
    await deploy(_AGENTS, [], None, dry_run=False, console=Console(quiet=True))
    folder = Path(endpoints_here().folder) / f".colony-bench-{uuid.uuid4().hex[:8]}"
    runs: dict[str, list[float]] = {}
    made: dict[str, Any] = {}
    try:
        folder.mkdir()
        shutil.copy(BRIEF, folder)
        for name in ("without_model", "with_model")[: 1 + load_settings(endpoints_here()).config.model.enabled]:
            for _ in range(1 if quick else RUNS):
                seconds, made[name] = await _one_site(folder / BRIEF.name, model=name == "with_model")
                runs.setdefault(name, []).append(seconds)
                console.print(f"  {name}: a site in {seconds:.1f} s", highlight=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    slowest = max(max(seconds) for seconds in runs.values())
    return BenchResult(
        name="website",
        metrics={
            **{name: {"seconds": spread(seconds).model_dump(), **made[name]} for name, seconds in runs.items()},
            "profile": endpoints_here().profile,
        },
        baseline={"name": "the target", "seconds": TARGET_SECONDS},
        ratio=round(TARGET_SECONDS / slowest, 2),
        environment=environment(),
        targets=tuple(
            at_most(f"slowest site {name.replace('_', ' ')}, s", max(seconds), TARGET_SECONDS)
            for name, seconds in runs.items()
        ),
    )


async def _one_site(brief: Path, *, model: bool) -> tuple[float, dict[str, Any]]:
    """Seconds from the start call to the closed workflow, and what was built."""
    request: dict[str, Any] = {"source": str(brief)}
    if not model:
        request["parameters"] = {"words": {"words": "brief"}}
    async with temporal_here() as client, ledger_here() as ledger:
        started = time.monotonic()
        job = await start_job(client, "website_build", request, workflow_id=f"bench-{uuid.uuid4().hex[:12]}")
        await await_job(client, job.workflow_id)
        seconds = time.monotonic() - started
        view = await wait_for_job(ledger, job.key, timeout=10.0)
        if view.state is not JobState.DONE:
            raise Permanent(f"Job {view.job} ended {view.state}: {view.reason}")
        return seconds, await _built(ledger, view.job)


async def _built(ledger: Ledger, job: int) -> dict[str, Any]:
    """Pages, troubles found and left, and who worded how many pages. Raises `Permanent` where a trouble is left."""
    for artifact in await ledger.artifacts(job):
        if artifact.name == "results.json":
            report = parse_site_report(orjson.loads(artifact.content))
            left = sum(not trouble.mended for trouble in report.troubles)
            if left:
                raise Permanent(f"Job {job} left {left} troubles of {len(report.troubles)} in its site.")
            return {"pages": report.pages(), "troubles_mended": len(report.troubles), "words": report.words}
    raise Permanent(f"Job {job} wrote no results.")
