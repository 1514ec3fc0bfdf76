"""`colony agents`: the fleet as the registry publishes it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("agents")(agents)


def agents(
    agent_type: Annotated[str, typer.Option("--type", help="List the agents of this type.")] = "",
    limit: Annotated[int, typer.Option(help="Most agents to list.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show passing agents: counts by type, or the agents of one type and where they live."""
    from colony.errors import NotFound
    from colony.ids import AgentType
    from colony.registry.open import open_registry  # takes a moment to import
    from colony.registry.port import AgentEntry
    from control.session import endpoints_here

    async def read() -> tuple[dict[str, int], list[AgentEntry]]:
        async with open_registry(endpoints_here(), role="client") as registry:
            if not agent_type:
                return await registry.counts(), []
            return {}, await registry.passing(AgentType(agent_type))

    counts, entries = asyncio.run(read())
    if as_json:
        rows = [entry.model_dump(mode="json") for entry in entries]
        print(json.dumps(rows if agent_type else counts))  # noqa: T201 -- output of the command
        return
    if agent_type and not entries:
        raise NotFound(f"No agent of type {agent_type!r} passes.", remedy="`colony agents` lists the types.")
    if agent_type:
        table = Table("agent", "host", "shard", "version", "actions", box=None)
        for entry in entries[:limit]:
            where = (entry.agent_id, entry.host, str(entry.shard), str(entry.version))
            table.add_row(*where, ", ".join(entry.tags)[:30])
        Console().print(table)
        if len(entries) > limit:
            Console().print(f"... and {len(entries) - limit:,} more; --limit shows more.")
        return
    table = Table("type", "passing", box=None)
    for name, number in sorted(counts.items()):
        table.add_row(name, f"{number:,}")
    table.add_row("[bold]all[/]", f"[bold]{sum(counts.values()):,}[/]")
    Console().print(table)
