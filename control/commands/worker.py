"""`colony worker list · drain · promote`: versions of the workers. `colony codec-key`: keys of what they encrypt."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colony.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Versions of the workers: which one gets jobs, who keeps which.")
    group.command("list")(list_versions)
    group.command("drain")(drain)
    group.command("promote")(promote)
    app.add_typer(group, name="worker")
    app.command("codec-key")(codec_key)


def list_versions(as_json: Json = False) -> None:
    """List the versions, newest first: who polls, and the jobs they have."""
    from control.worker_versions import versions

    found = asyncio.run(versions())
    if as_json:
        print(json.dumps(found))  # noqa: T201 -- output of the command
        return
    if not found["versions"]:
        console.print("No worker with a version was ever here.")
        return
    table = Table("build", "status", "pollers", "jobs", "pinned", "since UTC", box=None, pad_edge=False)
    for row in found["versions"]:
        since = datetime.fromtimestamp(row["created_at"], UTC).strftime("%m-%d %H:%M")
        numbers = (str(row["pollers"]), str(row["jobs"]), str(row["pinned"]))
        table.add_row(escape(row["build"]), row["status"], *numbers, since)
    console.print(table)


def drain(
    build: Annotated[str, typer.Argument(help="Build of the version; all but the current one when left out.")] = "",
    move: Annotated[
        bool, typer.Option("--move", help="Let its jobs follow the current version now: their histories must replay.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.", min=0)] = 3600.0,
    as_json: Json = False,
) -> None:
    """Wait until no job needs a version any more; its workers can be stopped then. Exit code 3 after the time-out."""
    from control.worker_versions import drain as wait_for

    builds = asyncio.run(wait_for(build, move=move, timeout=timeout, show=_progress(quiet=as_json)))
    if as_json:
        print(json.dumps({"drained": builds}))  # noqa: T201 -- output of the command
    elif builds:
        console.print(f"No job waits for {', '.join(map(escape, builds))}: its workers can be stopped.")
    else:
        console.print("There is no version but the current one.")


def promote(
    build: Annotated[str, typer.Argument(help="Build of the version that gets new jobs from now on.")],
    as_json: Json = False,
) -> None:
    """Give new jobs to this version: to go back, or where `temporal.promote` is manual."""
    from control.worker_versions import promote as make_current

    seen = asyncio.run(make_current(build))
    if as_json:
        print(json.dumps({"deployment": seen.name, "current": seen.current}))  # noqa: T201 -- output of the command
    else:
        console.print(f"New jobs go to the build {escape(seen.current)}.")


def codec_key(
    file: Annotated[Path, typer.Argument(help="The key file; made with mode 0600 when it is not there.")],
    name: Annotated[str, typer.Option(help="Name of the key; the time when left out.")] = "",
) -> None:
    """Put a fresh key in front of a key file: it encrypts from now on, those behind it still decrypt."""
    from workflows.encryption import key_line, parse_keys, read_keys

    before = ""
    if file.exists():
        read_keys(file)
        before = file.read_text(encoding="ascii")
    name = name or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    text = key_line(name) + before
    parse_keys(text, str(file))
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as sink:
            sink.write(text)
        fresh.replace(file)
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}.") from error
    console.print(
        f"The key {escape(name)} stands first in {escape(str(file))}. "
        "Every process must be able to read it before one encrypts with it: start them again.",
        highlight=False,
    )


def _progress(*, quiet: bool) -> Callable[[dict[str, int]], None]:
    last: dict[str, int] | None = None

    def show(left: dict[str, int]) -> None:
        nonlocal last
        if not quiet and left != last and any(left.values()):
            waiting = ", ".join(f"{escape(build)}: {jobs}" for build, jobs in left.items() if jobs)
            console.print(f"Jobs that wait for their version: {waiting}", highlight=False)
        last = left

    return show
