"""`colony monitor`: look at the sites of a monitor and change them while it runs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from colony.errors import BadInput

console = Console()

Name = Annotated[str, typer.Argument(help="Job number, key or workflow id of the monitor.")]
Sites = Annotated[list[str] | None, typer.Argument(help="Names or URLs of sites; all of them when left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class _ShowByDefault(TyperGroup):
    """`colony monitor ID` is short for `colony monitor show ID`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See click, of which typer has a copy of its own."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        cls=_ShowByDefault, no_args_is_help=True, help="Show the sites of a website_monitor job, or change them."
    )
    group.command("show")(show)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("interval")(interval)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("report")(report)
    group.command("secret")(secret)
    app.add_typer(group, name="monitor")


def show(name: Name, as_json: Json = False) -> None:
    """Show each site: state, uptime and latency of 24 hours, certificate, last change. Exit code 1 if one is down."""
    from control.monitor_view import monitor_view, sites_table
    from control.session import ledger_here

    async def read() -> dict[str, Any]:
        async with ledger_here() as ledger:
            return await monitor_view(ledger, name)

    view = asyncio.run(read())
    if as_json:
        print(json.dumps(view))  # noqa: T201 -- output of the command
    else:
        console.print(f"Job {view['job']} · {view['workflow_id']} · {view['state']}", highlight=False)
        console.print(sites_table(view, time.time()))
        open_now = sum(alert["closed_at"] is None for alert in view["alerts"])
        console.print(f"{open_now} open alerts, {len(view['alerts'])} in 24 hours.", highlight=False)
        if view["untold"] or view["given_up"]:
            told = f"{view['untold']} events wait for the webhook, {view['given_up']} were given up."
            console.print(told, style="yellow", highlight=False)
    if any(site["state"] == "down" for site in view["sites"]):
        raise typer.Exit(1)


def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="URL of the site.")],
    site: Annotated[str, typer.Option("--name", help="Its name; made from the URL when left out.")] = "",
    interval: Annotated[float | None, typer.Option(help="Seconds between two checks.")] = None,
    keyword: Annotated[str, typer.Option(help="Text that the page must have.")] = "",
    timeout: Annotated[float | None, typer.Option(help="Seconds until no answer counts as none.")] = None,
    as_json: Json = False,
) -> None:
    """Add a site, or change the one of that name."""
    given: dict[str, Any] = {"url": url, "name": site, "interval": interval, "timeout": timeout}
    if keyword:
        given["keyword"] = keyword
    _change(name, {"add": [{key: value for key, value in given.items() if value not in (None, "")}]}, as_json)


def remove(
    name: Name,
    sites: Annotated[list[str], typer.Argument(help="Names or URLs of sites.")],
    as_json: Json = False,
) -> None:
    """Watch these sites no more; what is known of them is forgotten, their open alerts close."""
    _change(name, {"remove": sites}, as_json)


def interval(
    name: Name,
    site: Annotated[str, typer.Argument(help="Name or URL of a site.")],
    seconds: Annotated[float, typer.Argument(help="Seconds between two checks.")],
    as_json: Json = False,
) -> None:
    """Change how often a site is checked."""
    _change(name, {"interval": {site: seconds}}, as_json)


def pause(name: Name, sites: Sites = None, as_json: Json = False) -> None:
    """Check these sites no more until they are resumed."""
    _change(name, {"pause": sites} if sites else {"pause_all": True}, as_json)


def resume(name: Name, sites: Sites = None, as_json: Json = False) -> None:
    """Check these sites again."""
    _change(name, {"resume": sites} if sites else {"resume_all": True}, as_json)


def report(
    name: Name,
    hours: Annotated[float, typer.Option(help="How far back it looks.")] = 24.0,
) -> None:
    """Write a report now, and print it."""
    from control.results import render_results

    job = str(asyncio.run(_update(name, "report", hours))[0])
    print(asyncio.run(render_results(job, "md")))  # noqa: T201 -- output of the command


def secret(name: Name) -> None:
    """Print the secret that signs what the webhook gets."""
    from control.session import ledger_here

    async def read() -> str:
        async with ledger_here() as ledger:
            return (await ledger.monitor((await ledger.job(name)).job)).secret

    print(asyncio.run(read()))  # noqa: T201 -- output of the command


def _change(name: str, change: dict[str, Any], as_json: bool) -> None:
    _, done = asyncio.run(_update(name, "change_sites", change))
    if as_json:
        print(json.dumps(done))  # noqa: T201 -- output of the command
        return
    parts = [f"{done[what]} {what}" for what in ("added", "changed", "removed", "paused", "resumed") if done[what]]
    console.print(f"{', '.join(parts) or 'Nothing changed'}; {done['sites']} sites now.", highlight=False)


async def _update(name: str, update: str, argument: Any) -> tuple[int, Any]:
    """The number of the job, and what the update returns. Raises `BadInput` for a job that is no monitor."""
    from control.session import ledger_here, temporal_here
    from workflows.client import update_job
    from workflows.monitor_contracts import TEMPLATE

    async with ledger_here() as ledger:
        view = await ledger.job(name)
    if view.template != TEMPLATE:
        raise BadInput(f"Job {view.job} is a {view.template}, it watches no sites.")
    async with temporal_here() as client:
        return view.job, await update_job(client, view.workflow_id, update, argument)
