"""The demo of `content_creation`: twelve posts about the vegetable garden from a small corpus."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from colony.contracts import JobState, JobView
from colony.errors import Permanent
from control.deploy import deploy, print_proof
from control.phases import Phases
from control.report import write_report
from control.running import run_job
from control.session import endpoints_here, ledger_here

AGENTS: Final = 620
_SHOWN: Final = (0, 1, 2, 3, 4, 8)
"""Columns of the table of quality that fit a terminal."""
_WORDS_AGAIN: Final = 7
"""Column from which on there are words again."""
EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "garden"


async def demo_content(phases: Phases, console: Console) -> list[Path]:
    """Run the parts that need a running stack; returns what was written."""
    with phases.phase(f"Deploying {AGENTS} agents"):
        print_proof(console, await deploy(AGENTS, [], None, dry_run=False, console=console))
    folder = _laid_out()
    request = {"source": str(folder / "topics.csv"), "corpus": str(folder / "corpus")}
    with phases.phase("Running the workflow content_creation"):
        name = f"demo-content-{int(time.time())}"
        view, _, _ = await run_job("content_creation", request, name, wait=True, console=console)
    if view.state is not JobState.DONE:
        raise Permanent(f"The demo's job ended {view.state}: {view.reason}", remedy="Look at `colony logs`.")
    return await _files(view)


def print_posts(console: Console, files: list[Path]) -> None:
    """The shortest of the posts as it reads, the table of quality, and where all of it lies."""
    named = {path.name: path for path in files}
    posts = sorted(named["posts"].glob("*.md"), key=lambda path: (path.stat().st_size, path.name))
    console.rule("One of them")
    console.print(Markdown(posts[0].read_text(encoding="utf-8").split("---\n", 2)[2]))
    console.rule()
    console.print(_table(named["quality.md"].read_text(encoding="utf-8")))
    console.print("\n[bold]The posts[/]")
    for path in (named["index.md"], named["quality.md"], *sorted(posts)):
        console.print(f"  {_short(path)}", highlight=False, soft_wrap=True)


def _table(quality: str) -> Table:
    """The rows of the table in `quality.md`, one line each."""
    lines = [line for line in quality.split("\n## ", 1)[0].splitlines() if line.startswith("| ")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    table = Table(box=None, pad_edge=False)
    for place in _SHOWN:
        wide = len(header[place]) if place else None
        table.add_column(
            header[place], justify="right" if 0 < place < _WORDS_AGAIN else "left", no_wrap=True, min_width=wide
        )
    for row in rows:
        table.add_row(*(row[place] for place in _SHOWN))
    return table


def _laid_out() -> Path:
    """The example below a data root: the stack may have been started in another folder."""
    endpoints = endpoints_here()
    home = Path(endpoints.home)
    inside = home.is_relative_to(endpoints.folder)
    folder = home / "demo" / "garden" if inside else Path(endpoints.folder) / ".colony-demo" / "garden"
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    return folder


async def _files(view: JobView) -> list[Path]:
    async with ledger_here() as ledger:
        return await write_report(ledger, view, Path(endpoints_here().home) / "reports")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
