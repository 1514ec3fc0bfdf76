"""What can be started by name: templates, the monitor, a template in the input, workflows in code. One list for all."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from colony.config.model import Config
from colony.config.templates import InputConfig, TemplateConfig
from colony.errors import ConfigInvalid, NotFound
from workflows import monitor_described as monitor
from workflows.coded import load_workflow_classes, name_of_workflow
from workflows.inline import INLINE
from workflows.monitor_contracts import CHECK_STEP
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.templates import templates_of

NO_INPUTS: Final[Mapping[str, InputConfig]] = MappingProxyType({})


class Startable(NamedTuple):
    """Something a job can be of."""

    name: str
    """Type of its workflow."""
    description: str
    inputs: Mapping[str, InputConfig] = NO_INPUTS
    """What it may be given, beside what every job may be; a workflow in code tells nobody."""
    steps: tuple[str, ...] = ()
    """Names of its steps; none for a workflow in code, and for one that brings its steps along."""
    template: TemplateConfig | None = None
    """None for all but templates."""


def startable(config: Config) -> dict[str, Startable]:
    """All that can be started, by name.

    Imports the modules of workflows in code. Left out are those that cannot be loaded here: workers say so when they
    start.
    """
    found = {each.name: each for each in (*_coded(config), _inline(), _monitor())}
    for name, template in templates_of(config).items():
        if name == MONITOR:
            continue  # its workflow has a class of its own, which goes before
        steps = tuple(str(step.name) for step in template.steps)
        inputs = {str(field): declared for field, declared in template.inputs.items()}
        found[str(name)] = Startable(str(name), template.description, inputs, steps, template)
    return dict(sorted(found.items()))


def startable_named(name: str, config: Config) -> Startable:
    """The one called `name`. Raises `NotFound` naming those that exist."""
    known = startable(config)
    if name not in known:
        raise unknown_name(name, known)
    return known[name]


def coded_names(config: Config) -> frozenset[str]:
    """Types of workflows in code: their jobs have no row in the ledger. Imports as `startable` does."""
    if not config.workflow_classes:
        return frozenset()
    return frozenset(each.name for each in _coded(config)) - {MONITOR}


def unknown_name(name: str, known: Mapping[str, Startable]) -> NotFound:
    """The error for a name that nothing has."""
    return NotFound(f"There is no template {name[:80]!r}.", remedy=f"There are: {', '.join(sorted(known))}.")


def _monitor() -> Startable:
    return Startable(MONITOR, monitor.DESCRIPTION, monitor.INPUTS, (str(CHECK_STEP.name),))


def _inline() -> Startable:
    description = "Runs the template that stands in its input."
    given = InputConfig(type="object", required=True, description="`steps` and what else a template has")
    return Startable(INLINE, description, {"template": given})


def _coded(config: Config) -> Iterator[Startable]:
    for path in config.workflow_classes:
        try:
            (found,) = load_workflow_classes([path], config.fleet.packages)
        except ConfigInvalid:
            continue
        name = name_of_workflow(found)
        if name is not None:
            told = (inspect.getdoc(found) or "").partition("\n")[0]
            yield Startable(name, told or f"A workflow in code: {path}.")
