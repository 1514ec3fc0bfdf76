"""`colony dead-letters`: tasks and durable messages that failed for good."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colony.errors import BadInput

console = Console()

_PLACE: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,6})\.([0-9]{1,9})", re.ASCII)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dead-letters")(dead_letters)


def dead_letters(
    name: Annotated[str, typer.Argument(help="Job; all of them when left out.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    after: Annotated[
        str, typer.Option(help="Only those behind this one: JOB.STEP.SEQ of a task, or the id of a message.")
    ] = "",
    messages: Annotated[bool, typer.Option("--messages", help="Durable messages instead of tasks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List tasks whose last outcome is a failure, or durable messages that failed for good."""
    if messages:
        if name:
            raise BadInput("Messages belong to no job.", remedy="Leave the job out.")
        _messages(limit, after, as_json=as_json)
    else:
        _tasks(name, limit, _place(after), as_json=as_json)


def _tasks(name: str, limit: int, after: tuple[int, int, int] | None, *, as_json: bool) -> None:
    from colony.contracts import DeadLetter
    from control.session import ledger_here

    async def read() -> list[DeadLetter]:
        async with ledger_here() as ledger:
            number = (await ledger.job(name)).job if name else None
            return await ledger.dead_letters(number, limit + 1, after=after)

    found = asyncio.run(read())
    letters = found[:limit]
    if as_json:
        print(json.dumps([letter.model_dump(mode="json") for letter in letters]))  # noqa: T201 -- output of the command
        return
    table = Table("job", "step", "seq", "agent", "error", "message", box=None)
    for letter in letters:
        where = (str(letter.job), str(letter.step), str(letter.seq))
        table.add_row(*where, letter.agent_id, letter.error, escape(letter.message[:60]))
    console.print(table if letters else "No dead letters.")
    if len(found) > limit:
        last = letters[-1]
        _more(f"{name} " if name else "", f"{last.job}.{last.step}.{last.seq}")


def _messages(limit: int, after: str, *, as_json: bool) -> None:
    from colony.contracts import DeadMessage
    from control.session import ledger_here

    async def read() -> list[DeadMessage]:
        async with ledger_here() as ledger:
            return await ledger.dead_messages(limit + 1, after=after)

    found = asyncio.run(read())
    dead = found[:limit]
    if as_json:
        print(json.dumps([one.model_dump(mode="json") for one in dead]))  # noqa: T201 -- output of the command
        return
    table = Table("message", "agent", "kind", "from", "error", "reason", box=None)
    for one in dead:
        message = one.message
        table.add_row(
            escape(message.message_id[:36]),
            message.agent_id,
            message.kind,
            escape(message.sender[:40]),
            escape(one.error),
            escape(one.reason[:60]),
        )
    console.print(table if dead else "No dead messages.")
    if len(found) > limit:
        _more("--messages ", dead[-1].message.message_id)


def _more(which: str, after: str) -> None:
    said = f"There are more: colony dead-letters {which}--after {after}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _place(after: str) -> tuple[int, int, int] | None:
    """Job, step and seq of the last task of the page before."""
    if not after:
        return None
    match = _PLACE.fullmatch(after)
    if match is None:
        raise BadInput(f"--after: {after[:60]!r} is no task.", remedy="Write JOB.STEP.SEQ, such as 12.2.7.")
    job, step, seq = map(int, match.groups())
    return job, step, seq
