"""`colony memory list · search · forget`: what agents remember."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from colony.memory.contracts import Remembered, ScopeSize

console = Console()
memory_app = typer.Typer(help="What agents remember.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_SHOWN = 160


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(memory_app, name="memory")


@memory_app.command("list")
def list_(
    scope: Annotated[
        str, typer.Argument(help="shared, agent:ID, type:NAME or job:NAME; all scopes when left out.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Most scopes or entries shown.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """List the largest scopes, or the last entries of one."""
    if scope:
        _print_entries(asyncio.run(_entries(scope, limit)), as_json=as_json)
        return
    from control.memory_view import size_shown

    sizes = [size_shown(size) for size in asyncio.run(_scopes(limit))]
    if as_json:
        print(json.dumps(sizes))  # noqa: T201 -- output of the command
    elif not sizes:
        console.print("Nothing is remembered.")
    else:
        table = Table(box=None)
        for column in ("scope", "entries", "characters", "embedder", "dimensions", "newest"):
            table.add_column(column, overflow="fold")
        for size in sizes:
            table.add_row(*(f"{size[name]:,}" if isinstance(size[name], int) else str(size[name]) for name in (
                "scope", "entries", "characters", "embedder", "dimensions", "newest")))  # fmt: skip
        console.print(table)


@memory_app.command("search")
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="shared (the default), agent:ID, type:NAME or job:NAME; may be repeated.")
    ] = None,
    label: Annotated[str, typer.Option(help="Only entries of this label, such as passage or post.")] = "",
    limit: Annotated[int, typer.Option(help="Most entries shown.", min=1, max=100)] = 5,
    as_json: Json = False,
) -> None:
    """Find what agents remember, nearest first."""
    _print_entries(asyncio.run(_search(query, scope or ["shared"], label, limit)), as_json=as_json, scored=True)


@memory_app.command("forget")
def forget(
    scope: Annotated[str, typer.Argument(help="shared, agent:ID, type:NAME or job:NAME.")] = "",
    memory: Annotated[str, typer.Option("--id", help="Only this entry.")] = "",
    older_than: Annotated[
        float | None, typer.Option(help="Only entries added more than so many days ago.", min=0)
    ] = None,
    as_json: Json = False,
) -> None:
    """Forget a scope, an entry of it, or what is old. Agents may add it again."""
    entries = asyncio.run(_forget(scope, memory, older_than))
    if as_json:
        print(json.dumps({"forgotten": entries}))  # noqa: T201 -- output of the command
    else:
        console.print(f"Forgot {entries:,} {'entry' if entries == 1 else 'entries'}.")


async def _scopes(limit: int) -> list[ScopeSize]:
    from control.session import ledger_here

    async with ledger_here() as ledger:
        return await ledger.memory_scopes(limit)


async def _entries(scope: str, limit: int) -> list[Remembered]:
    from control.memory_view import place
    from control.session import ledger_here

    async with ledger_here() as ledger:
        return await ledger.memories(await place(ledger, scope), limit)


async def _search(query: str, scopes: list[str], label: str, limit: int) -> list[Remembered]:
    from control import memory_view
    from control.session import ledger_here

    async with ledger_here() as ledger:
        return await memory_view.search(ledger, query, scopes, label, limit)


async def _forget(scope: str, memory: str, older_than: float | None) -> int:
    from control import memory_view
    from control.session import ledger_here

    async with ledger_here() as ledger:
        return await memory_view.forget(ledger, scope, memory, older_than)


def _print_entries(entries: list[Remembered], *, as_json: bool, scored: bool = False) -> None:
    from control.memory_view import iso

    if as_json:
        shown: list[dict[str, Any]] = [
            {**entry.model_dump(mode="json", exclude={"added_at"}), "added_at": iso(entry.added_at)}
            for entry in entries
        ]
        print(json.dumps(shown))  # noqa: T201 -- output of the command
        return
    if not entries:
        console.print("Nothing found.")
    for entry in entries:
        head = f"{entry.score:.2f}  " if scored else ""
        by = f"{entry.scope}  {entry.label or '-'}  by {entry.agent_id or '-'}  {iso(entry.added_at)}  {entry.id}"
        console.print(f"{head}{by}", style="dim", markup=False, highlight=False, soft_wrap=True)
        text = " ".join(entry.text.split())
        cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        console.print(f"  {cut}", markup=False, highlight=False, soft_wrap=True)
