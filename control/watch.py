"""Follow a job in the ledger until it ends, with a progress bar a step."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from colony.contracts import JobState, JobView
from colony.errors import DeadlineExceeded, NotFound, Transient
from colony.ledger.port import Ledger
from control.waits import Asked

POLL = 0.25
"""Seconds between two looks."""
STILL = 8
"""So many looks without a change, and the job is asked what it waits for."""


async def wait_for_job(ledger: Ledger, name: str, *, timeout: float) -> JobView:
    """The job once its row exists. Raises `DeadlineExceeded`."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        try:
            return await ledger.job(name)
        except NotFound:
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(
                    f"Job {name} was not opened within {timeout:.0f} s.",
                    remedy="Look at `colony status` and `colony logs worker`.",
                ) from None
        await asyncio.sleep(POLL / 2)


async def follow_job(
    ledger: Ledger, name: str, console: Console, *, timeout: float = 86_400.0, asked: Asked | None = None
) -> JobView:
    """Show progress until the job is closed; returns its last view. Outages of the ledger are waited out.

    While nothing moves, what `asked` says is shown, each line once.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    view = await wait_for_job(ledger, name, timeout=min(timeout, 60.0))
    with Progress(
        TextColumn("  {task.description:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        transient=False,
    ) as progress:
        bars: dict[int, TaskID] = {}
        still = Stillness(asked)
        while True:
            _show(progress, bars, view)
            if view.state is not JobState.RUNNING:
                return view
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"Job {name} still runs after {timeout:.0f} s.")
            await asyncio.sleep(POLL)
            for line in await still.lines(view):
                progress.console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
            try:
                view = await ledger.job(str(view.job))
            except Transient:
                continue


class Stillness:
    """Asks about a job that has not moved for a moment; tells each line once."""

    def __init__(self, asked: Asked | None, *, looks: int = STILL) -> None:
        self._asked = asked
        self._looks = looks
        self._unmoved = 0
        self._seen: JobView | None = None
        self._told: set[str] = set()

    async def lines(self, view: JobView) -> list[str]:
        """What is new to say about `view`, the newest look at the job."""
        self._unmoved = self._unmoved + 1 if view == self._seen else 0
        self._seen = view
        if self._asked is None or not self._unmoved or self._unmoved % self._looks:
            return []
        new = [line for line in await self._asked(view) if line not in self._told]
        self._told.update(new)
        return new


def _show(progress: Progress, bars: dict[int, TaskID], view: JobView) -> None:
    for step in view.steps:
        if not step.tasks:
            continue
        if step.number not in bars:
            bars[step.number] = progress.add_task(step.name, total=step.tasks, note="")
        note = f"[red]{step.failed} failed[/]" if step.failed else ""
        bar = bars[step.number]
        progress.update(bar, completed=step.ok + step.failed, total=step.tasks, note=note)
        if step.ok + step.failed >= step.tasks:
            progress.stop_task(bar)
