"""The configuration of a stack whose user wrote none. Pure data."""

from __future__ import annotations

from typing import Final

from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.ids import AgentType

BUILT_IN: Final = Config(
    fleet=FleetConfig(
        types={
            AgentType("research"): AgentTypeConfig(count=100),
            AgentType("processing"): AgentTypeConfig(count=200),
            AgentType("analysis"): AgentTypeConfig(count=150),
            AgentType("monitoring"): AgentTypeConfig(count=100),
            AgentType("coordination"): AgentTypeConfig(count=70),
            AgentType("probe"): AgentTypeConfig(count=0),
        }
    )
)
"""620 agents of the five built-in types, and the type of the probes that measure the runtime.

Workflow templates come from above this layer.
"""
