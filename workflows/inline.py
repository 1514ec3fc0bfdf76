"""Jobs that bring their own template: the workflow `pipeline` with `{"template": {"steps": [...]}}` as input. Pure."""

from __future__ import annotations

import json
from typing import Any, Final, cast

from pydantic import ValidationError

from colony.config.templates import TemplateConfig
from colony.errors import BadInput

INLINE: Final = "pipeline"
"""Type of a workflow whose template stands in its input, unless the configuration has one of that name."""


def split_template(text: str) -> tuple[TemplateConfig, str]:
    """The template in the input of a job, and the rest of the input. Raises `BadInput` naming what is wrong."""
    given = cast("dict[str, Any]", json.loads(text))
    try:
        template = TemplateConfig.model_validate(given.pop("template", {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in ("template", *first["loc"][:6]))
        raise BadInput(
            f"The input field {where!r} is wrong: {first['msg'][:200]}.",
            remedy="`colony template schema` prints what a template is.",
        ) from None
    return template, json.dumps(given)
