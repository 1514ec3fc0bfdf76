"""What the agents of each configured type can do, by their classes."""

from __future__ import annotations

from typing import Any

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
    found: dict[AgentType, frozenset[str]] = {}
    for name, kind in config.fleet.types.items():
        path = kind.implementation or BUILTIN.get(name, "")
        if not path:
            continue
        try:
            listed: Any = getattr(load_agent_class(path, config.fleet.packages), "actions", None)
        except ConfigInvalid:  # the hosts say so when they start; here it only means that nothing is known
            continue
        if isinstance(listed, dict):
            found[name] = frozenset(str(action) for action in listed)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- keys of a user's class
    return found
