"""The JSON schema of `agent_config.yaml`, for editors and for people."""

from __future__ import annotations

import json
from typing import Any, Final

from colony.config.model import Config

SCHEMA_FILE: Final = "agent_config.schema.json"
"""Name of the schema in the repository; point an editor at it."""


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Colony configuration"}


def schema_text() -> str:
    """The schema as it is kept in the repository."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
