from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from colony.config.built_in import BUILT_IN
from colony.config.schema import SCHEMA_FILE, json_schema, schema_text

ROOT = Path(__file__).parents[3]


def test_the_schema_kept_in_the_repository_is_up_to_date() -> None:
    kept = (ROOT / SCHEMA_FILE).read_text(encoding="utf-8")
    assert kept == schema_text(), "run `colony config schema > agent_config.schema.json`"


def test_the_schema_accepts_the_defaults_and_refuses_an_unknown_key() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(json.loads(BUILT_IN.model_dump_json()), json_schema())
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        jsonschema.validate({"flet": {}}, json_schema())


def test_every_field_of_the_schema_that_users_meet_first_is_described() -> None:
    fleet = json_schema()["$defs"]["FleetConfig"]["properties"]
    assert [name for name, field in fleet.items() if not field.get("description")] == []
