"""The agent types that come with Colony."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BUILTIN: Final[Mapping[str, str]] = {
    "research": "agents.research:Research",
    "processing": "agents.processing:Processing",
    "analysis": "agents.analysis:Analysis",
    "monitoring": "agents.monitoring:Monitoring",
    "coordination": "agents.coordination:Coordination",
    "probe": "agents.probe:Probe",
}
"""Agent type -> dotted path of its class."""
