"""`colony bench NAME`: measure the running stack."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import Annotated

import typer
from rich.console import Console

from colony.errors import BadInput

BENCHMARKS = {
    "durable_tasks": "durable tasks a second beside bare Temporal",
    "footprint": "memory of each process and of the whole stack",
    "deploy": "time to deploy 620, 10,000 and 100,000 agents to proven",
    "jobs": "100 jobs of 620 tasks at once; start and assignment; tasks at the same moment",
    "reviews": "review_analysis of 100,000 reviews in one job",
    "content": "a hundred posts, with or without a model",
    "website": "a site built, checked and mended from the example brief",
    "monitor": "share of a core that 1,000 watched sites cost",
    "gateway": "the LLM gateway beside the bare embedded model (15 minutes; --quick: 2)",
}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("bench")(bench)


def bench(
    name: Annotated[str, typer.Argument(help=" · ".join(f"{name}: {what}" for name, what in BENCHMARKS.items()))],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One run where several are the rule (gateway).")] = False,
) -> None:
    """Measure the running stack."""
    from rich.pretty import Pretty  # takes a moment to import

    if name not in BENCHMARKS:
        raise BadInput(f"Benchmark {name!r} is unknown.", remedy=f"Known: {', '.join(BENCHMARKS)}.")
    module = importlib.import_module(f"bench.{name}")  # each pulls in clients of servers
    options = {"quick": True} if quick and "quick" in inspect.signature(module.run).parameters else {}
    told = Console(stderr=True)
    result = asyncio.run(module.run(told, **options))
    if as_json:
        print(result.model_dump_json(indent=2))  # noqa: T201 -- output of the command
    else:
        Console().print(Pretty(result.model_dump(), expand_all=True))
    for target in result.targets:
        verdict = "met" if target.met else "[red]missed[/]"
        told.print(f"  {verdict}: {target.what}: {target.found:,.4g}, target {target.bound:,.4g}", highlight=False)
