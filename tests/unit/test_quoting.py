"""What is kept of what was said: no secret that shows by its form, no more letters than allowed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.llm.port import ChatMessage
from colony.quoting import HIDDEN, Walk, quoted, quoted_payload, quoted_turns

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
        "DB_PASSWORD=hunter22",
        "export POSTGRES_PASSWORD=hunter22;",
        "MYSQL_PWD=hunter22",
        "AWS_SECRET_ACCESS_KEY=hunter22/abc",
        "MY_API_KEY=hunter22",
        "x-api-key: hunter22",
        '{"DB_PASSWORD": "hunter22"}',
        '{"DB_PASSWORD": "pw hunter22"}',
        r'{"DB_PASSWORD": "a\"hunter22"}',
        json.dumps(json.dumps(json.dumps({"MY_API_KEY": "a hunter22"}))),
        '{"accessToken":"hunter22"}',
        "secret=hunter22",
        "secret = hunter22",
        "token: hunter22",
        "refresh_token=hunter22&x=1",
        "password=pw,hunter22",
        "Cookie: id=abc; session=hunter22",
        "Set-Cookie: session=hunter22; Path=/",
        "redis://:hunter22@host/0",
        "amqp://bot:p@hunter22@host/path",
        "Bearer hunterhunterhunter",
        "Authorization: Bearer hunterhunter",
        '{"Authorization": "Token hunter22"}',
        "_sk-hunter22hunter22hunter22",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    found = quoted(text, 1_000).text
    assert HIDDEN in found
    for secret in (KEY, "hunter22", "hunterhunter", "MIIEow", "abcdef0123456789", "eyJhbGciOiJIUzI1NiJ9"):
        assert secret not in found


@pytest.mark.parametrize(
    "text",
    [
        "The password is long.",
        "a basic understanding of things",
        "basic responsibilities of all",
        "http://host:80/a",
        "http://[::1]:80/a",
        "sk-short",
        "1:2@3",
        "The secret: patience and practice.",
        "Cookie: with chocolate",
        "max_tokens=4096, prompt_tokens: 1234567",
        "if token == expected_value:",
        "tokenizer: sentencepiece2",
        "the key: 12345678",
        "risk-free-and-desk-bound-all-day",
    ],
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


@pytest.mark.parametrize(
    "name",
    [
        "secret_key",
        "accessToken",
        "DBPassword",
        "AWS_SECRET_ACCESS_KEY",
        "X-Api-Key",
        "apiKeys",
        "credentials",
        "refresh_token",
        "Set-Cookie",
        "authTokens",
    ],
)
@pytest.mark.parametrize("value", ["x", 4711, ["x", "y"], {"user": "a", "deep": [{"b": "x"}]}])
def test_all_below_the_name_of_a_secret_is_hidden(name: str, value: object) -> None:
    payload = {"before": [{name: value}], "after": 1}
    assert orjson.loads(quoted_payload(payload, 1_000).text) == {"before": [{name: HIDDEN}], "after": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 5, "prompt_tokens": 7, "tokens": ["a"]},
        {"secret": True, "token": None, "password": "", "credentials": []},
        {"secretary": "Ann", "keyboard": "z", "tokenizer": "bpe", "monkey": "Bo", "compass": "north"},
    ],
)
def test_fields_whose_names_only_look_alike_stay(fields: dict[str, Any]) -> None:
    assert orjson.loads(quoted_payload(fields, 1_000).text) == fields


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=5) | st.sampled_from(
    ["password", "secret", "token", "cookies", "bearer", "basic", "key", "api", "Authorization", "access", "tokens"]
)


@given(words=st.lists(WORDS, max_size=40), marks=st.lists(st.sampled_from([" ", ", ", ". ", "? ", " - ", ": ", "\n"])))
def test_harmless_prose_stays(words: list[str], marks: list[str]) -> None:
    text = "".join(
        f"{word}{marks[place % len(marks)] if marks and place % 3 == 0 else ' '}" for place, word in enumerate(words)
    )
    text = text.replace("password: ", "password. ")  # a word after that may be one
    assert quoted(text, 1_000) == (text, 0)


HOSTILE = st.sampled_from(["a_", "password", "password=", "://", ":", "@", '"', "'", "\\", "secret: ", "token=", ","])
MORE_HOSTILE = st.sampled_from(
    ["cookie: ", "a=", "bearer ", "basic ", "-----BEGIN PRIVATE KEY-----", "x" * 50, "1", "eyJ"]
)


@given(parts=st.lists(HOSTILE | MORE_HOSTILE, min_size=1, max_size=4))
def test_hostile_text_takes_no_time_to_speak_of(parts: list[str]) -> None:
    # What grows faster than the text would hang here: 120,000 letters.
    one = "".join(parts)
    text = one * (120_000 // len(one))
    assert len(quoted(text, 32_000).text) <= 160_000


def nested(width: int, depth: int) -> Any:
    return [nested(width, depth - 1) for _ in range(width)] if depth else "x"


@pytest.mark.parametrize(
    "payload",
    [
        [0] * 200_000,
        {str(number): {"a": number} for number in range(100_000)},
        [["x" * 100] * 100] * 100,
        nested(9, 5),
        {"x" * 5_000 + str(number): "y" * 5_000 for number in range(50)},
        {str(number): {"password": [number]} for number in range(100_000)},
    ],
)
def test_of_a_large_payload_only_so_much_is_looked_at_as_may_be_kept(payload: Any) -> None:
    walk = Walk(4_000)
    kept = walk.hidden(payload)
    assert walk.nodes <= 2_001
    assert len(orjson.dumps(kept)) <= 4 * 4_000
    assert walk.left_out > 0
    quote = quoted_payload(payload, 1_000)
    assert "letters left out" in quote.text
    assert quote.cut > 1_000
    assert len(quote.text) < 1_060


def test_a_secret_in_a_long_field_that_is_cut_leaves_no_half_behind() -> None:
    for at in range(1_300, 4_200, 7):
        payload = {"before": "b" * 600, "text": "x " * (at // 2) + KEY + " y" * 4_000, "after": ["c"] * 5_000}
        assert KEY[:19] not in quoted_payload(payload, 1_000).text


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
