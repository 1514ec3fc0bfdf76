"""Queues for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from control.queues import HostWaiting, LaneWaiting, Queues
from workflows.standing import QueueDepth

_WIDE: Final = 24
_TASKS: Final = Text("Work that Temporal holds. Takers are workers that ask for it.", "dim")
_HOSTS: Final = Text("On hosts: places run agents, lanes wait for a place; tasks are not begun.", "dim")
_MODELS: Final = Text("Calls to models, at the gateway.", "dim")


def render_queues(found: Queues) -> RenderableType:
    """A table for each kind of queue, and who did not answer."""
    parts: list[RenderableType] = []
    if found.tasks:
        parts += [_TASKS, _tasks(found.tasks), Text()]
    parts += [_HOSTS, _hosts(found.hosts)] if found.hosts else [Text("No host lives: see `colony status`.")]
    if found.models:
        parts += [Text(), _MODELS, _models(found.models)]
    parts += [Text(f"Not answered: {each}", "yellow") for each in found.trouble]
    return Group(*parts)


def _tasks(queues: tuple[QueueDepth, ...]) -> Table:
    table = Table("task queue", "of", "takers", "waiting", "oldest", "by priority", box=None, pad_edge=False)
    for each in queues:
        kind = "activities" if each.activities else "workflows"
        takers = Text(str(each.pollers), "" if each.pollers else "red")
        row = (f"{each.backlog:,}", _oldest(each.backlog, each.oldest_seconds), _by_priority(each.by_priority))
        table.add_row(each.queue, kind, takers, *row)
    return table


def _hosts(hosts: tuple[HostWaiting, ...]) -> Table:
    table = Table("host", "places", "lanes", "messages", "priority", "tenant", "tasks", box=None, pad_edge=False)
    for each in hosts:
        if not each.told:
            table.add_row(_cut(each.host), Text("does not tell", "yellow"))
            continue
        about = (_cut(each.host), str(each.places), f"{each.lanes:,}", f"{each.messages:,}")
        if not each.keys:
            table.add_row(*about, "", "", "0")
        for number, key in enumerate(each.keys):
            shown = about if number == 0 else ("", "", "", "")
            table.add_row(*shown, str(key.priority), _cut(key.tenant), f"{key.tasks:,}")
    return table


def _models(lanes: tuple[LaneWaiting, ...]) -> Table:
    table = Table("model backend", "running", "waiting", "oldest", "by priority", box=None, pad_edge=False)
    for each in lanes:
        waiting = f"{each.waiting:,}" + (f" of {each.length:,}" if each.length else "")
        row = (str(each.running), waiting, _oldest(each.waiting, each.oldest_seconds))
        table.add_row(_cut(each.backend), *row, _by_priority(each.by_priority))
    return table


def _by_priority(counts: Mapping[int, int]) -> str:
    return ", ".join(f"{level}: {count:,}" for level, count in sorted(counts.items()) if count)


def _oldest(waiting: int, seconds: float) -> str:
    return f"{seconds:.1f} s" if waiting else ""


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
