"""Workflows that users write as code: found by the paths the configuration names, from packages it allows."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from typing import Any, Final

from temporalio.workflow import _Definition  # pyright: ignore[reportPrivateUsage] -- the SDK has no other way to ask

from colony.errors import ConfigInvalid

_PATH: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load_workflow_classes(paths: Sequence[str], packages: Sequence[str]) -> list[type]:
    """The classes at `paths`, each `package.module:Class` below one of `packages`.

    Importing runs their code: that is why `packages` lists what may be named. Raises `ConfigInvalid`.
    """
    return [_load(path, packages) for path in paths]


def says_how_to_upgrade(workflow_class: type) -> bool:
    """Whether the class declares a versioning behaviour, which only workers with a version may run."""
    found = _Definition.from_class(workflow_class)
    return found is not None and bool(found.versioning_behavior)


def name_of_workflow(workflow_class: type) -> str | None:
    """The type a job of this class has; None for a class that takes all types nobody else has."""
    found = _Definition.from_class(workflow_class)
    return None if found is None else found.name


def _load(path: str, packages: Sequence[str]) -> type:
    match = _PATH.fullmatch(path)
    if match is None:
        raise ConfigInvalid(f"{path[:120]!r} is not the path of a workflow.", remedy="Write package.module:Class.")
    module_name, class_name = match.groups()
    if not any(module_name == package or module_name.startswith(package + ".") for package in packages):
        raise ConfigInvalid(
            f"The workflow {path} is in no package that is allowed ({', '.join(packages) or 'none'}).",
            remedy="Add its package to fleet.packages, if you trust its code.",
        )
    try:
        found: Any = getattr(importlib.import_module(module_name), class_name, None)
    except Exception as error:  # a user's module may raise anything; all of it is told
        raise ConfigInvalid(
            f"The module of the workflow {path} does not import: {type(error).__name__}: {error}"
        ) from error
    if not inspect.isclass(found) or _Definition.from_class(found) is None:
        raise ConfigInvalid(f"{path} is no class with @workflow.defn.", remedy="See docs/how-to/workflows-in-code.md.")
    return found
