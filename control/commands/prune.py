"""`colony prune`: forget what is old, or say what would be."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from colony.errors import BadInput

if TYPE_CHECKING:
    from colony.ledger.retention import Pruned

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prune")(prune)


def prune(
    older_than: Annotated[
        float | None,
        typer.Option(help="Days that jobs and calls of models are kept; the configuration when left out.", min=0),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Forget old jobs with all they had, done messages and calls of models. Never touches a running job.

    The stack does the same every hour by the settings `ledger.keep_days` and `ledger.keep_llm_days`.
    """
    pruned = asyncio.run(_prune(older_than, dry_run=dry_run))
    if as_json:
        print(json.dumps({"dry_run": dry_run, **pruned._asdict()}))  # noqa: T201 -- output of the command
        return
    counts = ", ".join(
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in pruned._asdict().items()
        if name not in ("bytes", "waiting") and count
    )
    if not counts:
        console.print("Nothing is that old.")
    else:
        console.print(f"{'Would forget' if dry_run else 'Forgot'} {counts}: about {pruned.bytes / 1e6:,.1f} MB.")
    if pruned.waiting:
        console.print(f"Rows of {pruned.waiting:,} jobs are in use; they go with the next call.")


async def _prune(older_than: float | None, *, dry_run: bool) -> Pruned:
    from control.retention import ages
    from control.session import endpoints_here, ledger_here
    from control.settings import load_settings

    if older_than is None:
        jobs_age, calls_age = ages(load_settings(endpoints_here()).config.ledger)
        if jobs_age is None and calls_age is None:
            raise BadInput("The configuration keeps everything for ever.", remedy="Say --older-than DAYS.")
    else:
        jobs_age = calls_age = older_than * 86_400.0
    async with ledger_here() as ledger:
        return await (ledger.prunable if dry_run else ledger.prune)(jobs_age, calls_age)
