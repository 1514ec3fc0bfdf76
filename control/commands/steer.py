"""`colony pause · resume · priority · approve`: tell a running job something."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from colony.contracts import JobView

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
    view, _ = _steer(name, "pause")
    _said(view, {"paused": True}, f"is paused. Go on with: colony resume {view.job}", as_json=as_json)


def resume(name: Name, as_json: Json = False) -> None:
    """Go on with a job after a pause."""
    view, _ = _steer(name, "resume")
    _said(view, {"paused": False}, "goes on.", as_json=as_json)


def priority(
    name: Name,
    level: Annotated[int, typer.Argument(help="1 (first) to 5 (last).", min=1, max=5)],
    as_json: Json = False,
) -> None:
    """Change the priority of all that a job hands out from now on."""
    view, found = _steer(name, "set_priority", level)
    _said(view, {"priority": found}, f"has priority {found}.", as_json=as_json)


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
    view, decision = _steer(name, "approve", answer)
    word = "rejected" if reject else "approved"
    _said(view, {"decision": decision}, f"heard it: {word}.", as_json=as_json)


def _steer(name: str, update: str, *arguments: Any) -> tuple[JobView, Any]:
    from control.steering import steer  # the clients behind it take a second to import

    return asyncio.run(steer(name, update, *arguments))


def _said(view: JobView, fields: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"job": view.job, "workflow_id": view.workflow_id, **fields}))  # noqa: T201 -- output
        return
    console.print(f"Job {view.job} {words}", markup=False, highlight=False)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user, as in some containers
        return "somebody"
