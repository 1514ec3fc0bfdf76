"""`colony pause · resume · priority · approve`: tell a running job something."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from control.steering import Steerable

console = Console()
Name = Annotated[str, typer.Argument(help="Number, key or workflow id of the job.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("pause")(pause)
    app.command("resume")(resume)
    app.command("priority")(priority)
    app.command("approve")(approve)


def pause(name: Name, as_json: Json = False) -> None:
    """Hand out no more tasks of a job; those under way end."""
    found, _ = _steer(name, "pause")
    _said(found, {"paused": True}, f"is paused. Go on with: colony resume {found.name}", as_json=as_json)


def resume(name: Name, as_json: Json = False) -> None:
    """Go on with a job after a pause."""
    found, _ = _steer(name, "resume")
    _said(found, {"paused": False}, "goes on.", as_json=as_json)


def priority(
    name: Name,
    level: Annotated[int, typer.Argument(help="1 (first) to 5 (last).", min=1, max=5)],
    as_json: Json = False,
) -> None:
    """Change the priority of all that a job hands out from now on."""
    found, now = _steer(name, "set_priority", level)
    _said(found, {"priority": now}, f"has priority {now}.", as_json=as_json)


def approve(
    name: Name,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    comment: Annotated[str, typer.Option(help="Why; kept with the decision.")] = "",
    step: Annotated[str, typer.Option(help="The step that is meant; the one that waits when left out.")] = "",
    by: Annotated[str, typer.Option(help="Who says so; the user of this terminal when left out.")] = "",
    as_json: Json = False,
) -> None:
    """Approve what waits for a person, or reject it."""
    answer = {"step": step, "approve": not reject, "comment": comment, "by": by or _user()}
    found, decision = _steer(name, "approve", answer)
    word = "rejected" if reject else "approved"
    _said(found, {"decision": decision}, f"heard it: {word}.", as_json=as_json)


def _steer(name: str, update: str, *arguments: Any) -> tuple[Steerable, Any]:
    from control.steering import steer  # the clients behind it take a second to import

    return asyncio.run(steer(name, update, *arguments))


def _said(found: Steerable, fields: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"job": found.job, "workflow_id": found.workflow_id, **fields}))  # noqa: T201 -- output
        return
    console.print(f"Job {found.name} {words}", markup=False, highlight=False)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user, as in some containers
        return "somebody"
