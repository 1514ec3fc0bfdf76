"""From the dotted path in a configuration to the class of an agent."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from agents.base import Agent
from colony.errors import ConfigInvalid

_PATH: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load_agent_class(path: str, packages: Sequence[str]) -> type[Agent]:
    """The class at `path`, `package.module:Class`, from one of `packages` or a module below it.

    Importing runs the module's code: that is why `packages` lists what may be named. Raises `ConfigInvalid` for a
    path of another form, a package that is not listed, a module that is missing or does not import, and a thing that
    is no class with async `handle` and `health` whose constructor takes nothing.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ConfigInvalid(f"{path[:120]!r} is not the path of an agent.", remedy="Write it as package.module:Class.")
    module_name, class_name = match.groups()
    if not any(module_name == package or module_name.startswith(package + ".") for package in packages):
        raise ConfigInvalid(
            f"The agent {path} is in no package that is allowed ({', '.join(packages) or 'none'}).",
            remedy="Add its package to fleet.packages, if you trust its code.",
        )
    found = getattr(_module(module_name, path), class_name, None)
    if found is None:
        raise ConfigInvalid(f"The module {module_name} has no {class_name}.", remedy=f"Correct the path {path}.")
    _check(found, path)
    return cast("type[Agent]", found)


def _module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's module may raise anything; all of it is told
        missing = isinstance(error, ModuleNotFoundError) and name.startswith(str(error.name))
        reason = (
            "is not installed or not on the path" if missing else f"does not import: {type(error).__name__}: {error}"
        )
        raise ConfigInvalid(f"The module {name} of the agent {path} {reason}.") from error


def _check(found: Any, path: str) -> None:
    if not inspect.isclass(found):
        raise ConfigInvalid(f"{path} is not a class.")
    for method in ("handle", "health"):
        if not inspect.iscoroutinefunction(getattr(found, method, None)):
            raise ConfigInvalid(f"The class {path} has no `async def {method}`.", remedy="See agents/base.py.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ConfigInvalid(f"The constructor of {path} must take nothing: {error}.") from error
