"""What is kept of what was said: no secret that shows by its form, no more letters than allowed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.llm.port import ChatMessage
from colony.quoting import HIDDEN, quoted, quoted_payload, quoted_turns

KEY = "sk-" + "a1B2" * 8
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"use {KEY} for it",
        "Authorization: Bearer abcdef0123456789",
        "at https://bot:{}@host/path".format("hunter22"),
        "password=hunter22 or so",
        '{"note": "api_key: hunter22"}',
        '{"config": {"api_key": "hunter22"}}',
        json.dumps(json.dumps({"access-token": "hunter22"})),
        f"key:\n{PEM}\nend",
        f"cut off: {PEM[:50]} hunter22",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def-123",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    found = quoted(text, 1_000).text
    assert HIDDEN in found
    for secret in (KEY, "hunter22", "MIIEow", "abcdef0123456789", "eyJhbGciOiJIUzI1NiJ9"):
        assert secret not in found


@pytest.mark.parametrize(
    "text", ["The password is long.", "a basic understanding of things", "http://host:80/a", "sk-short", "1:2@3"]
)
def test_words_stay(text: str) -> None:
    assert quoted(text, 100) == (text, 0)


def test_fields_that_have_the_name_of_a_secret() -> None:
    payload = {
        "api_key": "x",
        "Authorization": "y",
        "user": {"password": "z", "name": "Ann"},
        "max_tokens": 5,
        "tokens": ["a"],
        "webhook_secret": "",
    }
    assert orjson.loads(quoted_payload(payload, 1_000).text) == {
        **payload,
        "api_key": HIDDEN,
        "Authorization": HIDDEN,
        "user": {"password": HIDDEN, "name": "Ann"},
    }


def test_a_long_text_keeps_both_ends_and_says_how_much_is_missing() -> None:
    quote = quoted("a" * 5_000 + "b" * 5_000, 1_000)
    assert quote.cut == 9_000
    assert quote.text.startswith("a" * 750)
    assert quote.text.endswith("b" * 250)
    assert "9,000 letters left out" in quote.text


def test_a_secret_where_it_is_cut_leaves_no_half_behind() -> None:
    for at in range(700, 2_200, 7):
        text = "x " * (at // 2) + KEY + " y" * 4_000
        assert KEY[:19] not in quoted(text, 1_000).text


def test_short_turns_stay_whole_beside_a_long_one() -> None:
    turns = [
        ChatMessage(role="system", content="be brief"),
        ChatMessage(role="user", content="w" * 50_000),
        ChatMessage(role="user", content="and now?"),
    ]
    quote = quoted_turns(turns, 2_000)
    found = orjson.loads(quote.text)
    assert [turn["role"] for turn in found] == ["system", "user", "user"]
    assert (found[0]["content"], found[2]["content"]) == ("be brief", "and now?")
    assert len(quote.text) < 2_300
    assert quote.cut > 47_000


def test_of_very_many_turns_the_first_and_the_last_stay() -> None:
    turns = [ChatMessage(role="user", content=f"turn {number}") for number in range(500)]
    found: Any = orjson.loads(quoted_turns(turns, 8_000).text)
    assert (found[0]["content"], found[-1]["content"]) == ("turn 0", "turn 499")
    assert found[2]["role"] == "note"
    assert len(found) == 41


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(payload=st.dictionaries(st.text(), JSON), most=st.integers(200, 2_000))
def test_any_payload_has_a_quote(payload: dict[str, Any], most: int) -> None:
    quote = quoted_payload(payload, most)
    assert len(quote.text) <= most + 60
    assert (quote.cut > 0) == ("letters left out" in quote.text)


@given(contents=st.lists(st.text(st.characters(exclude_categories=[])), max_size=60), most=st.integers(200, 2_000))
def test_any_turns_have_a_quote(contents: list[str], most: int) -> None:
    turns = [ChatMessage.model_construct(role="user", content=content) for content in contents]
    found = orjson.loads(quoted_turns(turns, most).text)
    assert len(found) <= 41
