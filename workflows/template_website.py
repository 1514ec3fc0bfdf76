"""The template `website_build`: from a brief to a static site, as configuration data."""

from __future__ import annotations

from typing import Final

from colony.config.templates import TemplateConfig
from workflows.source_briefs import BRIEF

_WHOLE: Final = {"kind": "map", "error_budget": 0}
"""A site that lacks a part is no site: no part may fail."""

WEBSITE_BUILD: Final = TemplateConfig.model_validate(
    {
        "description": "Builds a static website from a brief (YAML), tests it, and has its authors mend what is wrong.",
        "steps": [
            # One row for each page, post, stylesheet, script and drawing.
            {"name": "load", "kind": "load", "parameters": {"source": BRIEF}},
            {"name": "plan", "over": "load", "agent": "coordination", "action": "plan_part", **_WHOLE},
            # A model on two cores answers its queue one after the other; without one a task takes microseconds.
            {
                "name": "words",
                "over": "plan",
                "agent": "research",
                "action": "write_copy",
                "task_seconds": 600,
                **_WHOLE,
            },
            {"name": "build", "over": "words", "agent": "processing", "action": "build_part", **_WHOLE},
            {"name": "check", "over": "build", "agent": "analysis", "action": "check_part", **_WHOLE},
            {"name": "mend", "over": "check", "agent": "coordination", "action": "return_part", **_WHOLE},
            {"name": "recheck", "over": "mend", "agent": "analysis", "action": "check_part", **_WHOLE},
            {
                "name": "assemble",
                "kind": "reduce",
                "over": "recheck",
                "agent": "coordination",
                "action": "assemble_site",
                "group": 100_000,
                "error_budget": 0,
            },
            {"name": "report", "kind": "report", "over": "assemble"},
        ],
    }
)
