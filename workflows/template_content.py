"""The template `content_creation`: from topics and a corpus to posts, as configuration data."""

from __future__ import annotations

from typing import Final

from agents.skills.content_alike import ALIKE
from colony.config.templates import TemplateConfig

_ALIKE: Final = {"most_alike": {"$input": "most_alike"}}
_CHECKED: Final = {"least_words": {"$input": "least_words"}, **_ALIKE}
_DRAFTED: Final = {"words": {"$input": "words"}, **_CHECKED}
_AT_ONCE: Final = {"parallel": 8, "batch": 2}
"""Eight to sixteen posts under way: what keeps a model on two cores busy. The input `parallel` allows more.

Batches shrink to one task when tasks take seconds, so it is `parallel` that counts then.
"""

_NOMINATE: Final = ("research", "analysis", "processing")
_EXTRA: Final = {"error_budget": 1, "attempts": 2}
"""Of steps a job does without when they fail."""

CONTENT_CREATION: Final = TemplateConfig.model_validate(
    {
        "description": "Writes posts on given topics from a corpus, each claim cited, and checks them.",
        "inputs": {
            "corpus": {
                "default": "",
                "maximum": 2_000,
                "description": "Folder or file below a data root, or address; several in parameters.research.corpus",
            },
            "words": {
                "type": "integer",
                "default": 320,
                "minimum": 40,
                "maximum": 5_000,
                "description": "About how many words a post is to have",
            },
            "least_words": {
                "type": "integer",
                "default": 150,
                "minimum": 1,
                "maximum": 5_000,
                "description": "A post with fewer words is done again, and held back if it stays so",
            },
            "most_alike": {
                "type": "number",
                "default": ALIKE,
                "minimum": 0,
                "maximum": 1,
                "description": "A post that shares more of its text with another one is done again; 1 leaves copies in",
            },
        },
        "columns": {
            "id": ("id", "number", "key"),
            "topic": ("topic", "subject", "query", "question", "theme"),
            "title": ("title", "headline"),
            "keywords": ("keywords", "tags"),
        },
        # A generated row ({"tasks": 12}) has no topic: the corpus itself says what it speaks of.
        "optional": ("id", "topic", "title", "keywords"),
        "steps": [
            {"name": "load", "kind": "load"},
            # A corpus may say nothing of some topics: they become no post, and the job goes on with the others.
            {
                "name": "research",
                "kind": "map",
                "over": "load",
                "agent": "research",
                "action": "gather",
                "parameters": {"corpus": {"$input": "corpus"}},
                "task_seconds": 300,
                "error_budget": 0.5,
            },
            # A model on two cores answers its queue one after the other; without one a task takes milliseconds.
            {
                "name": "draft",
                "kind": "map",
                "over": "research",
                "agent": "processing",
                "action": "draft_post",
                "parameters": _DRAFTED,
                **_AT_ONCE,
                "task_seconds": 900,
            },
            {
                "name": "check",
                "kind": "map",
                "over": "draft",
                "agent": "analysis",
                "action": "check_post",
                "parameters": _CHECKED,
            },
            {
                "name": "revise",
                "kind": "map",
                "over": "check",
                "agent": "processing",
                "action": "revise_post",
                "parameters": _DRAFTED,
                **_AT_ONCE,
                "task_seconds": 900,
            },
            {
                "name": "assemble",
                "kind": "reduce",
                "over": "revise",
                "agent": "coordination",
                "action": "assemble_posts",
                "parameters": _ALIKE,
                "group": 100_000,
                "error_budget": 0,
                "task_seconds": 300,
            },
            # Which post leads the index is an extra: whatever becomes of it, the report has the posts.
            {
                "name": "choose",
                "kind": "group",
                "over": "assemble",
                "members": [{"agent": each, "action": "nominate_post"} for each in _NOMINATE],
                "turns": 3,
                "parameters": {"turn_seconds": 5},
                "decides": {"agent": "coordination", "action": "choose_lead"},
                **_EXTRA,
            },
            {
                "name": "lead",
                "kind": "map",
                "over": "choose",
                "agent": "coordination",
                "action": "announce_lead",
                "hand_off": {"to": [{"agent": "processing", "action": "write_teaser"}]},
                "task_seconds": 120,
                **_EXTRA,
            },
            {"name": "report", "kind": "report", "over": "assemble"},
        ],
    }
)
