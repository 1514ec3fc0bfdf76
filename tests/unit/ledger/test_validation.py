"""What both ledgers check and clean."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput, Fenced
from colony.ids import SHARDS, AgentId, shard_of
from colony.ledger.validation import (
    check_epochs,
    checked_shards,
    clean_text,
    encode_object,
    parse_object,
    reduce_payload,
)


@given(st.text(st.characters(codec=None), max_size=5000))
def test_cleaned_text_can_be_kept_and_stays_as_it_was_where_it_could(value: str) -> None:
    cleaned = clean_text(value)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert len(cleaned) <= 4000
    assert clean_text(cleaned) == cleaned
    if len(value) <= 4000 and "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value):
        assert cleaned == value


@given(st.binary())
def test_any_payload_can_be_shown(document: bytes) -> None:
    orjson.dumps(parse_object(document))


def test_objects_are_shown_as_they_are() -> None:
    assert parse_object(b'{"a":[1]}') == {"a": [1]}
    assert parse_object(b"[1]") == {"raw": [1]}


def test_what_json_cannot_hold_is_bad_input() -> None:
    with pytest.raises(BadInput):
        encode_object({"a": object()})


def test_shards_are_ordered_once_each_and_exist() -> None:
    assert checked_shards([5, 1, 5]) == [1, 5]
    assert checked_shards([]) == []
    for wrong in (-1, SHARDS):
        with pytest.raises(BadInput):
            checked_shards([0, wrong])


def test_epochs_must_cover_the_agents() -> None:
    agent_id = AgentId("research-00001")
    check_epochs({shard_of(agent_id): 1}, [agent_id])
    with pytest.raises(Fenced):
        check_epochs({(shard_of(agent_id) + 1) % SHARDS: 1}, [agent_id])


def test_reduce_payload_is_json() -> None:
    assert orjson.loads(reduce_payload(2, 500, 1000)) == {"step": 2, "first": 500, "end": 1000}
