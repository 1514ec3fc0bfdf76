"""`colony schedule create · list · show · pause · resume · trigger · delete`: jobs that start again and again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colony.errors import BadInput

if TYPE_CHECKING:
    from workflows.schedules import Schedules, ScheduleView, Timing
    from workflows.startable import Startable

console = Console()
Answer = TypeVar("Answer")

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]
Note = Annotated[str, typer.Option(help="Why; shown with the schedule.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Schedules: jobs that start again and again.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_all)
    group.command("show")(show)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("trigger")(trigger)
    group.command("delete")(delete)
    app.add_typer(group, name="schedule")


def create(
    name: Annotated[str, typer.Argument(help="Name of the schedule; workflow ids of its jobs begin with it.")],
    template: Annotated[str, typer.Option(help="Name of the workflow, such as review_analysis.")],
    input_json: Annotated[str, typer.Option("--input", help="The input of every job as a JSON object.")] = "{}",
    cron: Annotated[str, typer.Option(help="When, such as '0 6 * * *' for six each morning.")] = "",
    every: Annotated[float | None, typer.Option(help="Seconds from start to start, in place of --cron.")] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    overlap: Annotated[
        str, typer.Option(help="While the job before still runs: skip this one, buffer one, or allow both.")
    ] = "skip",
    as_json: Json = False,
) -> None:
    """Start a job again and again. An unknown template, and an input with fields it cannot take, are refused."""
    given, known = _object(input_json), _startable()
    timing = _timing(known, template=template, cron=cron, every=every, timezone=timezone, overlap=overlap)

    async def work(schedules: Schedules) -> ScheduleView:
        from control.scheduling import create_schedule

        return await create_schedule(schedules, name, timing, given, known)

    view = _with_schedules(work)
    if as_json:
        print(view.model_dump_json())  # noqa: T201 -- output of the command
        return
    first = f"; first at {_moment(view.next[0])} UTC" if view.next else ""
    console.print(f"Schedule {name} starts {template}: {timing.spoken()}{first}", markup=False, highlight=False)


def list_all(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 200, as_json: Json = False
) -> None:
    """List schedules by name."""
    views = _with_schedules(lambda schedules: schedules.list(limit))
    if as_json:
        print(json.dumps([view.model_dump(mode="json") for view in views]))  # noqa: T201 -- output of the command
        return
    console.print(schedule_table(views) if views else "No schedule yet. Make one: colony schedule create --help")


def show(name: Name, as_json: Json = False) -> None:
    """Show one schedule: its next starts and last jobs."""
    view = _with_schedules(lambda schedules: schedules.show(name))
    if as_json:
        print(view.model_dump_json())  # noqa: T201 -- output of the command
        return
    lines = [f"Schedule {view.name}{' (paused)' if view.paused else ''}{f': {view.note}' if view.note else ''}"]
    if view.timing is not None:
        lines.append(f"  starts {view.timing.template} · {view.timing.spoken()} · overlap: {view.timing.overlap}")
    lines.append(f"  jobs started: {view.started or 0} · left out: {view.skipped or 0}")
    lines += [f"  next: {_moment(at)} UTC" for at in view.next]
    lines += [f"  job: {workflow_id}" for workflow_id in view.recent]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def pause(name: Name, note: Note = "") -> None:
    """Start no more jobs until the schedule is resumed; jobs that run go on."""
    _with_schedules(lambda schedules: schedules.pause(name, note))
    console.print(f"Schedule {name} is paused.", markup=False, highlight=False)


def resume(name: Name, note: Note = "") -> None:
    """Start jobs again; times that passed meanwhile are not made up for."""
    _with_schedules(lambda schedules: schedules.resume(name, note))
    console.print(f"Schedule {name} goes on.", markup=False, highlight=False)


def trigger(name: Name) -> None:
    """Start a job now."""
    _with_schedules(lambda schedules: schedules.trigger(name))
    console.print(f"Schedule {name} was asked to start a job now.", markup=False, highlight=False)


def delete(name: Name) -> None:
    """Forget a schedule; jobs that run go on."""
    _with_schedules(lambda schedules: schedules.delete(name))
    console.print(f"Schedule {name} is gone.", markup=False, highlight=False)


def schedule_table(views: list[ScheduleView]) -> Table:
    """Schedules in at most 80 columns."""
    table = Table(box=None, pad_edge=False)
    for title, width in (("name", 22), ("template", 18), ("when", 22), ("next UTC", 11)):
        table.add_column(title, max_width=width, no_wrap=True, overflow="ellipsis")
    for view in views:
        coming = "paused" if view.paused else _moment(view.next[0]) if view.next else ""
        when = view.note if view.timing is None else view.timing.spoken()
        table.add_row(
            escape(view.name), escape("" if view.timing is None else view.timing.template), escape(when), coming
        )
    return table


def _with_schedules(work: Callable[[Schedules], Awaitable[Answer]]) -> Answer:
    from control import session  # the clients behind it take a second to import

    async def done() -> Answer:
        async with session.schedules_here() as schedules:
            return await work(schedules)

    return asyncio.run(done())


def _timing(known: Mapping[str, Startable], **fields: Any) -> Timing:
    from control.scheduling import timing_of
    from ray_app.gateway.api.fields import RequestRefused

    try:
        return timing_of(fields, known)
    except RequestRefused as error:
        where = f"--{error.param}: " if error.param else ""
        raise BadInput(f"{where}{error.message}", remedy="For example: --cron '0 6 * * *', or --every 3600.") from None


def _startable() -> Mapping[str, Startable]:
    from control.session import endpoints_here
    from control.settings import load_settings
    from workflows.startable import startable

    return startable(load_settings(endpoints_here()).config)


def _object(text: str) -> dict[str, Any]:
    try:
        given: Any = json.loads(text)
    except ValueError as error:
        raise BadInput(f"--input is no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise BadInput("The input of a job is a JSON object.", remedy='For example: --input \'{"source": "a.csv"}\'.')
    return cast("dict[str, Any]", given)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M")
