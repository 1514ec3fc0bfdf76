"""Posts in minutes: a hundred from a corpus somebody else wrote, the reference of the Python language."""

from __future__ import annotations

import pydoc_data.topics
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from bench.result import BenchResult, at_most, environment
from colony.contracts import JobState
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.deploy import deploy
from control.session import endpoints_here, ledger_here, temporal_here
from control.settings import load_settings
from control.watch import wait_for_job
from workflows.client import await_job, start_job

POSTS: Final = 100
TARGET_SECONDS: Final = 600.0
_AGENTS: Final = 620


async def run(console: Console, *, posts: int = POSTS) -> BenchResult:
    """A job of `posts` posts on the corpus' own topics without a model, then one with it where the stack has one."""
    await deploy(_AGENTS, [], None, dry_run=False, console=Console(quiet=True))
    folder = Path(endpoints_here().folder) / f".colony-bench-{uuid.uuid4().hex[:8]}"
    runs: dict[str, dict[str, Any]] = {}
    try:
        _write_corpus(folder)
        for name in ("without_model", "with_model")[: 1 + load_settings(endpoints_here()).config.model.enabled]:
            runs[name] = await _one_job(folder, posts, model="on" if name == "with_model" else "off")
            console.print(f"  {name}: {posts} posts in {runs[name]['seconds']} s", highlight=False)
        if "with_model" not in runs:
            console.print("  This stack has no model: `model: {enabled: true}` measures it with one too.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    slowest = max(found["seconds"] for found in runs.values())
    return BenchResult(
        name="content",
        metrics={**runs, "profile": endpoints_here().profile},
        baseline={"name": "the target", "seconds": TARGET_SECONDS},
        ratio=round(TARGET_SECONDS / slowest, 2),
        environment=environment(),
        targets=tuple(
            at_most(f"{posts} posts {name.replace('_', ' ')}, s", found["seconds"], TARGET_SECONDS)
            for name, found in runs.items()
        ),
    )


def _write_corpus(folder: Path) -> None:
    folder.mkdir()
    for name, text in pydoc_data.topics.topics.items():
        (folder / f"{name.strip()}.txt").write_text(text, encoding="utf-8")


async def _one_job(folder: Path, posts: int, *, model: str) -> dict[str, Any]:
    """Seconds from the start call to the closed workflow, and what came of it."""
    parameters = {step: {"model": model} for step in ("draft", "revise", "lead")}
    request = {"tasks": posts, "corpus": str(folder), "least_words": 80, "parameters": parameters}
    async with temporal_here() as client, ledger_here() as ledger:
        started = time.monotonic()
        job = await start_job(client, "content_creation", request, workflow_id=f"bench-{uuid.uuid4().hex[:12]}")
        await await_job(client, job.workflow_id)
        seconds = time.monotonic() - started
        view = await wait_for_job(ledger, job.key, timeout=10.0)
        if view.state is not JobState.DONE:
            raise Permanent(f"Job {view.job} ended {view.state}: {view.reason}")
        return {"seconds": round(seconds, 1), **await _results(ledger, view.job, posts)}


async def _results(ledger: Ledger, job: int, posts: int) -> dict[str, Any]:
    for artifact in await ledger.artifacts(job):
        if artifact.name == "results.json":
            found: dict[str, Any] = orjson.loads(artifact.content)
            collection: dict[str, Any] = found["collection"]
            if collection["posts"] == posts:
                figures = {name: collection[name] for name in ("posts", "passed", "redone", "words", "models")}
                phases = {phase["name"]: round(phase["seconds"], 2) for phase in found["run"]["phases"]}
                return {**figures, "phases": phases}
    raise Permanent(f"Job {job} did not write {posts} posts.")
