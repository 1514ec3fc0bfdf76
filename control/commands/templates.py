"""`colony templates` and `colony template`: what can be started by name, and is a file right?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from colony.config.model import Config
    from colony.config.templates import InputConfig
    from colony.ids import Id
    from colony.jobs import StepPlan
    from workflows.startable import Startable

console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Configuration file to read.")]

# The model of the configuration takes most of a second to import: the commands do it, not `--help`.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("templates")(templates)
    group = typer.Typer(help="Workflow templates: check one, print the schema.", no_args_is_help=True)
    group.command("check")(check)
    group.command("schema")(schema)
    app.add_typer(group, name="template")


def templates(file: File = None, as_json: Json = False) -> None:
    """List the workflow templates and what a job of each may be given."""
    from workflows.startable import startable

    found = startable(_config(file))
    if as_json:
        print(json.dumps({name: _described(each) for name, each in found.items()}))  # noqa: T201 -- output of the command
        return
    for name, each in found.items():
        _print_template(name, each.description, each.inputs.items())
        if each.template is not None and each.template.steps[0].rows is None:
            columns = f" with the columns {', '.join(each.template.columns)}" if each.template.columns else ""
            console.print(f"    source: path of a file below a data root{columns}", markup=False, highlight=False)


def check(
    what: Annotated[str, typer.Argument(help="A file with a `workflows:` section, or the name of a template.")],
    file: File = None,
    as_json: Json = False,
) -> None:
    """Check templates and print the plan of each: references, fields, loops, agent types, actions, calls."""
    from colony.errors import BadInput, NotFound
    from colony.ids import Id
    from workflows.catalogue import actions_of, results_of
    from workflows.checking import check_template
    from workflows.monitor_contracts import CHECK_STEP
    from workflows.monitor_contracts import TEMPLATE as MONITOR
    from workflows.templates import BUILT_IN_TEMPLATES

    path = Path(what)
    is_file = path.suffix in (".yaml", ".yml") or path.exists()
    config = _config(path if is_file else file)
    names = [name for name, each in config.workflows.items() if each != BUILT_IN_TEMPLATES.get(name)]
    if not is_file:
        if what not in (MONITOR, *config.workflows):
            raise NotFound(f"There is no template {what[:80]!r}.", remedy="`colony templates` lists them.")
        names = [Id(what)]
    own = bool(names)
    names = names or list(config.workflows)
    known, results = actions_of(config), results_of(config)
    plans: dict[str, tuple[StepPlan, ...]] = {}
    for name in names:
        try:
            plans[name] = (
                (CHECK_STEP,) if name == MONITOR else check_template(name, config.workflows, config, known, results)
            )
        except BadInput as error:
            raise BadInput(f"Template {name}: {error.message}", remedy=error.remedy) from None
    if as_json:
        shown = {name: [step.model_dump(mode="json") for step in steps] for name, steps in plans.items()}
        print(json.dumps(shown))  # noqa: T201 -- output of the command
        return
    for name, steps in plans.items():
        console.print(_plan(name, steps))
    if own:
        console.print(f"{len(plans)} templates are right." if len(plans) != 1 else "The template is right.")
    else:
        console.print("No template of its own, below `workflows:` by its name: those are the built-in ones.")


def schema() -> None:
    """Print the JSON schema of a template."""
    from colony.config.templates import TemplateConfig

    print(json.dumps(TemplateConfig.model_json_schema(by_alias=True), indent=2))  # noqa: T201 -- output of the command


def _config(file: Path | None) -> Config:
    from colony.errors import NotFound
    from control.commands.config import DEFAULT_FILE
    from control.session import endpoints_here
    from control.settings import load_file, load_settings

    if file is not None:
        return load_file(file).config
    try:
        return load_settings(endpoints_here()).config
    except NotFound:  # no stack is up: what the file here says counts
        here = Path(DEFAULT_FILE)
        return load_file(here if here.exists() else None).config


def _described(found: Startable) -> dict[str, Any]:
    template = found.template
    return {
        "description": found.description,
        "inputs": {name: declared.model_dump(mode="json") for name, declared in found.inputs.items()},
        "columns": [] if template is None else list(template.columns),
        "source": template is not None and template.steps[0].rows is None,
        "steps": list(found.steps),
    }


def _print_template(name: str, description: str, inputs: Iterable[tuple[str, InputConfig]]) -> None:
    console.print(f"[bold]{name}[/]  {description}", highlight=False)
    for field, declared in inputs:
        notes = ["required"] if declared.required else []
        notes += [] if declared.default is None else [f"default {json.dumps(declared.default)}"]
        notes += [f"one of {', '.join(map(str, declared.choices))}"] if declared.choices else []
        told = f" ({', '.join(notes)})" if notes else ""
        console.print(f"    {field}: {declared.type}{told}  {declared.description}", markup=False, highlight=False)


def _plan(name: Id | str, steps: Sequence[StepPlan]) -> Table:
    table = Table("", "step", "kind", "over", "does", "goes to", title=str(name), box=None, title_justify="left")
    names = {step.number: str(step.name) for step in steps}
    for step in steps:
        over = ", ".join(names[source.steps[0]] for source in step.sources) or names.get(_number(step.over), "")
        does = f"{step.agent_type}: {step.action}" if step.agent_type is not None else _spoken(step)
        table.add_row(str(step.number), step.name, step.kind.value, over, does, ", ".join(_ways(step, names)))
    return table


def _number(over: int | None) -> int:
    return -1 if over is None else over


def _spoken(step: StepPlan) -> str:
    if step.wait is not None:
        return f"{step.wait.seconds:g} s" if step.wait.seconds is not None else "until a moment"
    if step.approval is not None:
        return f"{step.approval.default} after {step.approval.timeout:g} s"
    return "" if step.call is None else str(step.call.template)


def _ways(step: StepPlan, names: dict[int, str]) -> list[str]:
    ways: list[int] = []
    if step.branch is not None:
        ways = [*(case.go for case in step.branch.cases), step.branch.otherwise]
    elif step.approval is not None and step.approval.on_reject is not None:
        ways = [step.approval.on_reject]
    return list(dict.fromkeys(names.get(number, "end") for number in ways))
