"""What can be started by name."""

from __future__ import annotations

import pytest

from colony.config.built_in import BUILT_IN
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.errors import NotFound
from colony.ids import Id
from workflows.inline import INLINE
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.startable import startable, startable_named
from workflows.templates import BUILT_IN_TEMPLATES, DURABLE_TASKS


def coded(*paths: str) -> Config:
    fleet = BUILT_IN.fleet.model_copy(update={"packages": ("agents", "examples")})
    return BUILT_IN.model_copy(update={"fleet": fleet, "workflow_classes": paths})


def test_templates_the_monitor_and_a_template_in_the_input() -> None:
    found = startable(BUILT_IN)
    assert set(found) == {*BUILT_IN_TEMPLATES, MONITOR, INLINE}
    assert list(found) == sorted(found)
    assert found[MONITOR].template is None
    assert found["review_analysis"].template is not None
    assert "template" in found[INLINE].inputs


def test_a_workflow_in_code_is_listed_by_its_type() -> None:
    found = startable(coded("examples.opinions:Opinions"))["opinions"]
    assert (found.steps, found.template) == ((), None)
    assert found.description.startswith("Judges")


def test_a_class_that_cannot_be_loaded_here_is_left_out() -> None:
    found = startable(coded("examples.opinions:Nobody", "os:path", "examples.opinions:Opinions"))
    assert set(found) - set(startable(BUILT_IN)) == {"opinions"}


def test_the_template_goes_before_what_is_called_the_same_but_not_before_the_monitor() -> None:
    mine: dict[Id, TemplateConfig] = {Id(INLINE): DURABLE_TASKS, Id(MONITOR): DURABLE_TASKS}
    found = startable(Config(workflows=mine))
    assert found[INLINE].template == DURABLE_TASKS
    assert found[MONITOR].template is None


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="review_analysis"):
        startable_named("nothing", BUILT_IN)
