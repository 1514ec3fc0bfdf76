"""What the agents of each configured type can do and what comes of it, by their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.model import Config
from colony.errors import ConfigInvalid
from colony.ids import AgentType


def actions_of(config: Config) -> dict[AgentType, frozenset[str]]:
    """Agent type -> its actions.

    Left out are types whose class does not list its actions, and those whose class cannot be loaded here: it may be
    installed where the hosts run only.
    """
    return {name: frozenset(listed) for name, listed in _declared(config, "actions")}


def results_of(config: Config) -> dict[AgentType, dict[str, frozenset[str]]]:
    """Agent type -> action -> the fields its result may have.

    Left out is what `actions_of` leaves out, and each action whose fields are not declared, or open (`*`).
    """
    return {
        name: {
            action: frozenset(map(str, cast("list[Any]", fields)))
            for action, fields in declared.items()
            if isinstance(fields, list | tuple | set | frozenset) and "*" not in fields
        }
        for name, declared in _declared(config, "results")
    }


def _declared(config: Config, attribute: str) -> Iterator[tuple[AgentType, dict[str, Any]]]:
    for name, kind in config.fleet.types.items():
        path = kind.implementation or BUILTIN.get(name, "")
        if not path:
            continue
        try:
            found: Any = getattr(load_agent_class(path, config.fleet.packages), attribute, None)
        except ConfigInvalid:  # the hosts say so when they start; here it only means that nothing is known
            continue
        if isinstance(found, dict):
            yield name, {str(action): each for action, each in cast("dict[Any, Any]", found).items()}
