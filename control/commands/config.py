"""`colony config`: what is in force and where it came from, a check of a file, the schema."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from colony.errors import NotFound

if TYPE_CHECKING:
    from colony.config.load import Loaded

# The model of the configuration takes most of a second to import: the commands do it, not `--help`.

DEFAULT_FILE: Final = "agent_config.yaml"
"""Read when no file is named, no stack is there to name one, and this one exists."""

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def register(app: typer.Typer) -> None:
    """Add the `config` commands to `app`."""
    group = typer.Typer(help="The configuration: show, check, schema.", no_args_is_help=True, rich_markup_mode=None)
    group.command("show")(show)
    group.command("check")(check)
    group.command("schema")(schema)
    app.add_typer(group, name="config")


def show(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Configuration file to read.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the configuration in force."""
    from control.settings import load_file

    loaded = load_file(_file_in_force(file))
    values = {key: _masked(value) for key, value in _flat(loaded.config.model_dump(mode="json"), "").items()}
    if as_json:
        typer.echo(json.dumps(_report(loaded, values, origin), indent=2))
        return
    typer.echo(f"# {loaded.file or 'built-in defaults'}")
    for key, value in values.items():
        text = f"{key}: {json.dumps(value)}"
        typer.echo(f"{text}  # {loaded.origin(key)}" if origin else text)


def check(file: Annotated[Path, typer.Argument(help="Configuration file to check.")]) -> None:
    """Check a file and load the agents it names, without the environment; the exit code is 0 when it is fine."""
    from agents.load import load_agent_class
    from colony.config.built_in import BUILT_IN
    from colony.config.load import load_config
    from workflows.templates import with_templates

    loaded = load_config(file, environment={}, defaults=with_templates(BUILT_IN))
    fleet = loaded.config.fleet
    sys.path.append(str(file.resolve().parent))
    for kind in fleet.types.values():
        if kind.implementation:
            load_agent_class(kind.implementation, ("agents", *fleet.packages))
    agents = sum(one.count for one in fleet.types.values())
    workflows = len(loaded.config.workflows)
    typer.echo(f"{file}: fine. {agents} agents of {len(fleet.types)} types, {workflows} workflow templates.")


def schema() -> None:
    """Print the JSON schema of the file."""
    from colony.config.schema import schema_text

    typer.echo(schema_text(), nl=False)


def _file_in_force(named: Path | None) -> Path | None:
    from colony.config.endpoints import home_from_environment, read_endpoints

    if named is not None:
        return named
    try:
        recorded = read_endpoints(home_from_environment()).config_file
    except NotFound:
        here = Path(DEFAULT_FILE)
        return here if here.exists() else None
    return Path(recorded) if recorded else None


def _report(loaded: Loaded, values: dict[str, Any], origin: bool) -> dict[str, Any]:
    report: dict[str, Any] = {"file": None if loaded.file is None else str(loaded.file), "values": values}
    if origin:
        report["origins"] = {key: loaded.origin(key) for key in values}
    return report


def _flat(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {key: value}
    children = cast("dict[str, Any]", value)
    return {
        found: leaf
        for name, child in children.items()
        for found, leaf in _flat(child, f"{key}.{name}" if key else name).items()
    }


def _masked(value: Any) -> Any:
    """`value` without the user and password an address may carry."""
    if isinstance(value, str):
        return _CREDENTIALS.sub("***", value)
    if isinstance(value, list):
        return [_masked(entry) for entry in cast("list[Any]", value)]
    return value
