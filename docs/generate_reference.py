"""Writes the pages of `docs/reference` that follow from the code: `.venv/bin/python -m docs.generate_reference`.

A test compares what is here with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from colony import errors
from colony.clock import ManualClock
from colony.config.built_in import BUILT_IN
from colony.config.schema import json_schema
from colony.ledger.memory import MemoryLedger
from control.api.app import build_routes
from control.api.outbox import Outbox
from control.api.parts import Parts
from control.api.slots import Slot
from control.cli import build_app
from control.why_facts import Asked
from workflows.memory_engine import MemoryEngine
from workflows.memory_schedules import MemorySchedules

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/generate_reference.py; change the code instead. -->\n"


def pages() -> dict[str, str]:
    """Name of a page -> its text. Pure."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "http-api.md": http_page(),
    }


def settings_page() -> str:
    """Every field of `agent_config.yaml`."""
    schema = json_schema()
    lines = [
        NOTE,
        "# Settings of `agent_config.yaml`\n",
        "Precedence: flag, environment, file, default. `bin/colony config show --origin` says where each value came",
        "from. A variable is `COLONY_` and the key in capitals, dots as two underscores: `fleet.hosts` is",
        "`COLONY_FLEET__HOSTS`. `NAME` stands for a name you choose, `[]` for an entry of a list. An editor finds the",
        "same in `agent_config.schema.json`.\n",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, field in _fields(schema, schema, ""):
        default = f"`{json.dumps(field['default'])}`" if "default" in field and not _is_section(schema, field) else ""
        lines.append(f"| `{key}` | {_type(schema, field)} | {default} | {_one_line(field.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _fields(
    schema: dict[str, Any], node: dict[str, Any], prefix: str, around: tuple[int, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below `node`. A section inside itself (the body of a loop has steps) is named, not gone into."""
    around = (*around, id(node))
    for name, field in node.get("properties", {}).items():
        key = f"{prefix}{name}"
        inner, suffix = _inner(schema, field)
        if inner is None or id(inner) in around:
            yield key, field
        else:
            yield from _fields(schema, inner, f"{key}{suffix}.", around)


def _inner(schema: dict[str, Any], field: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The section inside a field and what stands between their names; None for a plain value."""
    for candidate, suffix in (
        (field, ""),
        (field.get("additionalProperties"), ".NAME"),
        (next(iter(field.get("patternProperties", {}).values()), None), ".NAME"),
        (field.get("items"), "[]"),
    ):
        if isinstance(candidate, dict):
            found = _resolved(schema, candidate)
            if "properties" in found:
                return found, suffix
    return None, ""


def _is_section(schema: dict[str, Any], field: dict[str, Any]) -> bool:
    return _inner(schema, field)[0] is not None


def _resolved(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in field:
        return schema["$defs"][field["$ref"].rpartition("/")[2]]
    return field


def _type(schema: dict[str, Any], field: dict[str, Any]) -> str:
    found = _resolved(schema, field)
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"])
    if "anyOf" in found:
        return " or ".join(_type(schema, each) for each in found["anyOf"] if each.get("type") != "null")
    name = {"object": "mapping", "array": "list", "integer": "whole number", "boolean": "true or false"}
    kind = name.get(found.get("type", ""), found.get("type", "value"))
    limits = [f"{word} {found[key]}" for key, word in _BOUNDS.items() if key in found]
    return " ".join([kind, *limits])


_BOUNDS = {"minimum": "from", "maximum": "to", "exclusiveMinimum": "above"}


def commands_page() -> str:
    """Every command with its options."""
    root = get_command(build_app())
    lines = [
        NOTE,
        "# Commands\n",
        "`bin/colony` works from any folder; the stack is the one in `COLONY_HOME`, or in `.colony` below the working",
        "folder. `python deploy_agents.py` is `colony scale` under another name.\n",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | the command worked, the job did not |",
        "| 2 | what was asked for is wrong or refused |",
        "| 3 | a server does not answer; the same command may work later |",
        "| 130 | Ctrl-C |\n",
        "Errors go to standard error: what is wrong, and what to do next.\n",
    ]
    for name, command in _commands(root, ""):
        lines += [f"## {name}\n", f"{_one_line(command.help or '')}\n"]
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            if parameter.param_type_name == "option":
                spelling = ", ".join(parameter.opts)
            else:
                spelling = f"{parameter.name}" if parameter.required else f"[{parameter.name}]"
            lines.append(f"- `{spelling}` {_one_line(getattr(parameter, 'help', '') or '')}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    if name and command.invoke_without_command:
        yield name, command
    for child, inner in children.items():
        yield from _commands(inner, f"{name} {child}".strip())


def errors_page() -> str:
    """The family of errors, from the least special to the most."""
    lines = [
        NOTE,
        "# Errors\n",
        "The name is what `bin/colony dead-letters`, a failed workflow and the counts of a step show. `Transient`",
        "errors are tried again by the workflow, up to the step's `attempts`; `Permanent` ones end the task. An",
        "exception that is none of these counts as permanent, under its own name.\n",
        "| error | kind | meaning |",
        "|---|---|---|",
    ]
    for name, found in sorted(vars(errors).items()):
        if isinstance(found, type) and issubclass(found, errors.ColonyError) and found is not errors.ColonyError:
            kind = "Transient" if issubclass(found, errors.Transient) else "Permanent"
            lines.append(f"| `{name}` | {kind} | {_one_line(found.__doc__ or '')} |")
    return "\n".join(lines) + "\n"


def http_page() -> str:
    """Every path of the HTTP API, as its OpenAPI description has it."""
    described = build_routes(_twins()).openapi()
    lines = [
        NOTE,
        "# HTTP API\n",
        "What `/openapi.json` of the process `api` says, in short; how it is used: [the guide](../how-to/http-api.md).",
        "A field with `*` must be given. Besides the statuses named, any path may answer 401, 403, 422, 500, 503 or",
        "504.\n",
    ]
    tags: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, found in methods.items():
            tags.setdefault(found["tags"][0], []).append(_operation(described, f"{method.upper()} {path}", found))
    for tag, rows in tags.items():
        lines += [f"## {tag.capitalize()}\n", "| request | takes | answers | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _operation(described: dict[str, Any], request: str, found: dict[str, Any]) -> str:
    takes = [f"`{each['name']}`" for each in found.get("parameters", []) if each["in"] != "path"]
    for media in found.get("requestBody", {}).get("content", {}).values():
        body = media["schema"]
        body = described["components"]["schemas"][body["$ref"].rpartition("/")[2]] if "$ref" in body else body
        must = body.get("required", [])
        takes += [f"`{name}`{'*' if name in must else ''}" for name in body.get("properties", {})]
    usual = {"401", "403", "422", "500", "503", "504"}
    answers = ", ".join(sorted(status for status in found["responses"] if status not in usual))
    meaning = _one_line(found.get("description", found.get("summary", "")))
    return f"| `{request}` | {', '.join(takes)} | {answers} | {meaning} |"


def _twins() -> Parts:
    """What the routes need to describe themselves."""
    ledger, engine = MemoryLedger(ManualClock()), MemoryEngine()
    return Parts(
        ledger=ledger,
        engine=engine,
        outbox=Outbox(ledger, engine),
        messenger=Slot("the bus"),
        registry=Slot("the registry"),
        config=BUILT_IN,
        schedules=MemorySchedules(),
        asked=Asked(_no_temporal, None),
    )


def _no_temporal() -> Any:
    raise NotImplementedError


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page, text in pages().items():
        (FOLDER / page).write_text(text, encoding="utf-8")
