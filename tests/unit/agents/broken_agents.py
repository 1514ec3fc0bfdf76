"""Classes that are not quite agents."""

from __future__ import annotations

from agents.probe import Probe


class NeedsArgument(Probe):
    def __init__(self, name: str) -> None:
        self.name = name
