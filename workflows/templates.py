"""The templates that are always there, as configuration data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from colony.config.model import Config
from colony.config.templates import StepConfig, TemplateConfig, TemplateKind
from colony.ids import AgentType, Id
from workflows.template_content import CONTENT_CREATION
from workflows.template_website import WEBSITE_BUILD

REVIEW_ANALYSIS: Final = TemplateConfig(
    description="Reads customer reviews, finds what people like and dislike, and writes a report.",
    columns={
        "id": ("id", "review_id", "reviewid", "review id", "uuid"),
        "text": ("text", "review", "review_text", "review text", "reviewtext", "content", "body", "comment"),
        "rating": ("rating", "stars", "score", "review_rating", "overall"),
        "date": (
            *("date", "review_date", "review date", "reviewdate", "created_at", "created", "published_at", "posted_at"),
            *("submitted_at", "datetime", "timestamp", "time", "review_time", "reviewtime", "unixreviewtime"),
        ),
    },
    optional=("id", "rating", "date"),
    steps=(
        StepConfig(name=Id("load"), kind=TemplateKind.LOAD),
        StepConfig(
            name=Id("clean"),
            kind=TemplateKind.MAP,
            over=Id("load"),
            agent=AgentType("processing"),
            action=Id("clean_review"),
        ),
        StepConfig(
            name=Id("classify"),
            kind=TemplateKind.MAP,
            over=Id("clean"),
            agent=AgentType("analysis"),
            action=Id("sentiment"),
            # A model on two cores answers its queue one after the other; without one a task takes microseconds.
            task_seconds=600,
        ),
        StepConfig(
            name=Id("aggregate"),
            kind=TemplateKind.REDUCE,
            over=Id("classify"),
            agent=AgentType("analysis"),
            action=Id("aggregate_reviews"),
            group=500,
            error_budget=0,
        ),
        StepConfig(
            name=Id("merge"),
            kind=TemplateKind.REDUCE,
            over=Id("aggregate"),
            agent=AgentType("coordination"),
            action=Id("merge_reviews"),
            group=100_000,
            error_budget=0,
            task_seconds=300,
        ),
        StepConfig(name=Id("report"), kind=TemplateKind.REPORT, over=Id("merge")),
    ),
)

DURABLE_TASKS: Final = TemplateConfig(
    description="Generated tasks that do nothing, each with one durable outcome; measures the runtime itself.",
    steps=(
        StepConfig(name=Id("load"), kind=TemplateKind.LOAD),
        StepConfig(
            name=Id("work"), kind=TemplateKind.MAP, over=Id("load"), agent=AgentType("probe"), action=Id("noop")
        ),
    ),
)

BUILT_IN_TEMPLATES: Final[Mapping[Id, TemplateConfig]] = {
    Id("review_analysis"): REVIEW_ANALYSIS,
    Id("durable_tasks"): DURABLE_TASKS,
    Id("content_creation"): CONTENT_CREATION,
    Id("website_build"): WEBSITE_BUILD,
}


def templates_of(config: Config) -> dict[Id, TemplateConfig]:
    """All templates in force: those of the configuration, then the built-in ones it does not replace."""
    return {**BUILT_IN_TEMPLATES, **config.workflows}


def with_templates(config: Config) -> Config:
    """`config` with the built-in templates added: what a process hands to `load_config` as its defaults."""
    return config.model_copy(update={"workflows": templates_of(config)})
