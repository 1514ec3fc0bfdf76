"""`colony up · down · status · logs · doctor · env`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from colony.errors import BadInput, NotFound, Unavailable
from control.exit import NOT_NOW

if TYPE_CHECKING:
    from control.stack.paths import StackPaths

# The stack's own modules are imported inside the commands: they pull in clients of servers, and `--help` must be quick.

Home = Annotated[Path | None, typer.Option(help="Data directory; default COLONY_HOME or .colony.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

LAST_LINES = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
    app.command("logs")(logs)
    app.command("doctor")(doctor)
    app.command("env")(env)


def up(
    profile: Annotated[str, typer.Option(help="embedded or full; default from the configuration.")] = "",
    home: Home = None,
    config: Annotated[Path | None, typer.Option(help="agent_config.yaml to use.")] = None,
    only: Annotated[str, typer.Option(hidden=True, help="Services to start, separated by commas.")] = "",
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take no port that programs expect.")] = False,
) -> None:
    """Start the stack in the background and wait until all of it is ready."""
    if profile not in ("", "embedded", "full"):
        raise BadInput(f"Profile {profile!r} is unknown.", remedy="Known: embedded, full.")
    names = tuple(name for name in only.split(",") if name)
    start_stack(Console(), home=home, config=config, profile=profile, only=names, usual_ports=not free_ports)


def start_stack(
    console: Console,
    *,
    home: Path | None = None,
    config: Path | None = None,
    profile: str = "",
    only: tuple[str, ...] = (),
    usual_ports: bool = True,
) -> None:
    """Bring the stack up and show how; a second call is quick and harmless.

    Raises `BadInput` when the supervisor refuses the orders, `Unavailable` when a service does not come up: its last
    log lines were printed and everything is stopped.
    """
    from control.stack.launch import start
    from control.stack.orders import Orders
    from control.stack.paths import StackPaths
    from control.stack.progress import Progress

    orders = Orders(_home(home), _config(config), profile, only, usual_ports)
    with Progress(console) as progress:
        record, already = start(orders, progress.show)
    if record.failure is not None:
        failure = record.failure
        if not failure.service:
            raise BadInput(failure.message, remedy=failure.remedy)
        _print_last_lines(console, StackPaths(orders.home), failure.service)
        raise Unavailable(failure.message, remedy=failure.remedy or "Everything was stopped. See `colony logs`.")
    if already:
        console.print(f"The stack in {orders.home} is up already.", highlight=False, soft_wrap=True)
    else:
        console.print(f"Up in {record.ready_seconds} s.", style="green", highlight=False)


def down(
    home: Home = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete all data, logs and credentials too.")] = False,
) -> None:
    """Stop the stack in order and make sure that nothing of it is left."""
    import shutil

    from control.stack import launch, postgres
    from control.stack.paths import StackPaths
    from control.stack.progress import Progress

    console, paths = Console(), StackPaths(_home(home))
    with Progress(console) as progress:
        record = launch.stop(paths, progress.show)
    console.print("Nothing was running." if record is None else "Stopped; no process is left.")
    if purge:
        place = postgres.place_for(paths, postgres.account())
        for path in launch.purge_paths(paths, place):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        console.print(f"Deleted the data in {paths.home}.", highlight=False)


def status(home: Home = None, as_json: Json = False) -> None:
    """Show services, memory and fleet. Exit code 3 when the stack is not ready."""
    from control.stack.paths import StackPaths
    from control.stack.progress import print_status
    from control.stack.status import stack_status

    found = stack_status(StackPaths(_home(home)))
    if as_json:
        print(json.dumps(found))  # noqa: T201 - output of the command
    else:
        print_status(Console(), found)
    ready = found["phase"] == "ready" and all(
        service["state"] in ("ready", "external") for service in found["services"].values()
    )
    if not ready:
        raise typer.Exit(NOT_NOW)


def logs(
    name: Annotated[str, typer.Argument(help="Service; all of them without.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Lines of each log.")] = 50,
    home: Home = None,
) -> None:
    """Show the logs of the services."""
    from control.stack.logview import show_logs
    from control.stack.paths import StackPaths

    folder = StackPaths(_home(home)).logs
    known = sorted(path.stem for path in folder.glob("*.log"))
    if not known:
        raise NotFound(f"There are no logs in {folder}.", remedy="Run `colony up` first.")
    if name and name not in known:
        raise NotFound(f"There is no log of {name!r}.", remedy=f"Known: {', '.join(known)}.")
    show_logs(folder, [name] if name else known, lines=lines, follow=follow)


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Check the machine and, when the stack is up, prove that each part answers. Exit code 3 if something fails."""
    from dataclasses import asdict

    from colony.config.endpoints import read_endpoints
    from control.stack.doctor import examine
    from control.stack.lock import is_held
    from control.stack.paths import StackPaths
    from control.stack.progress import print_findings
    from control.stack.proofs import prove

    paths = StackPaths(_home(home))
    running = is_held(paths.lock_file)
    findings = examine(paths, running=running)
    verdicts = asyncio.run(prove(read_endpoints(paths.home))) if running else []
    if as_json:
        found: dict[str, Any] = {
            "machine": [asdict(finding) for finding in findings],
            "proofs": [asdict(verdict) for verdict in verdicts],
        }
        print(json.dumps(found))  # noqa: T201 - output of the command
    else:
        print_findings(Console(), findings, verdicts, running=running)
    if any(finding.level == "fail" for finding in findings) or not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(NOT_NOW)


def env(home: Home = None, as_json: Json = False) -> None:
    """Print addresses and token files for clients: `eval "$(colony env)"`."""
    from colony.config.endpoints import read_endpoints
    from control.stack.environment import as_exports, client_environment

    variables = client_environment(read_endpoints(_home(home)))
    print(json.dumps(variables) if as_json else as_exports(variables))  # noqa: T201 - output of the command


def _home(home: Path | None) -> Path:
    from colony.config.endpoints import home_from_environment

    return home.resolve() if home is not None else home_from_environment()


def _config(config: Path | None) -> Path | None:
    """The file asked for, or `agent_config.yaml` of this folder if there is one. Raises `NotFound`."""
    if config is not None:
        if not config.is_file():
            raise NotFound(f"There is no file {config}.")
        return config.resolve()
    here = Path("agent_config.yaml")
    return here.resolve() if here.is_file() else None


def _print_last_lines(console: Console, paths: StackPaths, service: str) -> None:
    from control.stack.logfiles import last_lines

    if not service:
        return
    console.print(f"Last lines of {paths.log(service)}:", style="bold", highlight=False, soft_wrap=True)
    for line in last_lines(paths.log(service), LAST_LINES):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
