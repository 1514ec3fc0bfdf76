"""Key, Host, Origin and the headers of callers."""

from __future__ import annotations

import pytest

from colony.errors import NotPermitted
from ray_app.gateway.api.callers import ask_of, manner_of, request_id_of
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.keys import Guard, Headers, headers_of
from ray_app.gateway.api.openai_requests import chat
from ray_app.gateway.api.problems import KeyRefused
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.contracts import CachePolicy

SETTINGS = ApiSettings(key="s3cret", hosts=frozenset({"gateway.test"}))
GOOD: Headers = {b"host": b"127.0.0.1:8000", b"authorization": b"Bearer s3cret"}


@pytest.mark.parametrize(
    "headers",
    [
        GOOD,
        {**GOOD, b"host": b"localhost"},
        {**GOOD, b"host": b"LOCALHOST:80"},
        {**GOOD, b"host": b"[::1]:80"},
        {**GOOD, b"host": b"gateway.test:8000"},
        {**GOOD, b"authorization": b"bearer  s3cret "},
        {b"host": b"localhost", b"x-api-key": b"s3cret"},
        {**GOOD, b"origin": b"http://localhost:3000"},
        {**GOOD, b"origin": b"https://gateway.test"},
    ],
)
def test_good_callers_get_in(headers: Headers) -> None:
    Guard(SETTINGS).check(headers)


@pytest.mark.parametrize(
    "more",
    [
        {b"authorization": b""},
        {b"authorization": b"s3cret"},
        {b"authorization": b"Basic s3cret"},
        {b"authorization": b"Bearer s3cre"},
        {b"authorization": b"Bearer s3cret,Bearer s3cret"},
        {b"authorization": b"Bearer \xff"},
        {b"authorization": b"", b"x-api-key": b"s3cretx"},
    ],
)
def test_the_key_must_fit(more: Headers) -> None:
    with pytest.raises(KeyRefused):
        Guard(SETTINGS).check({**GOOD, **more})


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.test",
        b"localhost.evil.test",
        b"127.0.0.1.evil.test",
        b"user@localhost",
        b"evil.test@localhost",
        b"localhost,evil.test",
        b"[::1",
        b"localhost:port",
        b"\xff",
        b"0.0.0.0",
    ],
)
def test_other_names_for_this_machine_are_refused(host: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        Guard(SETTINGS).check({**GOOD, b"host": host})
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "origin", [b"null", b"https://evil.test", b"http://localhost.evil.test", b"", b"http://a@localhost"]
)
def test_pages_of_other_sites_are_refused(origin: bytes) -> None:
    with pytest.raises(NotPermitted):
        Guard(SETTINGS).check({**GOOD, b"origin": origin})


def test_headers_sent_twice_are_joined() -> None:
    assert headers_of([(b"host", b"a"), (b"host", b"b"), (b"x", b"c")]) == {b"host": b"a,b", b"x": b"c"}


def test_everything_a_caller_may_say() -> None:
    headers: Headers = {
        b"x-colony-agent": b"research-00001",
        b"x-colony-agent-type": b"research",
        b"x-colony-job": b"0197-Ab",
        b"x-colony-priority": b"High",
        b"x-colony-tier": b"complex",
        b"x-colony-deadline": b"2.5",
        b"x-colony-cache": b"always",
        b"traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    }
    manner = manner_of(headers, "r1", SETTINGS)
    ask = ask_of(chat({"messages": [{"role": "user", "content": "x"}], "user": "me"}), manner, spent=0.5)
    assert (ask.caller.name, ask.caller.agent_type, ask.caller.job) == ("research-00001", "research", "0197-Ab")
    assert ask.caller.trace.startswith("00-aaaa")
    assert (ask.request_id, ask.priority, ask.tier, ask.cache) == ("r1", 1, "complex", CachePolicy.ALWAYS)
    assert ask.seconds == 2.0


def test_who_says_nothing_gets_the_defaults() -> None:
    wanted = chat({"model": "fast", "messages": [{"role": "user", "content": "x"}], "user": "me"})
    ask = ask_of(wanted, manner_of({b"traceparent": b"nonsense"}, "r1", SETTINGS), spent=0)
    assert (ask.caller.name, ask.caller.trace, ask.priority) == ("me", "", 3)
    assert (ask.model, ask.tier, ask.seconds) == ("", "fast", SETTINGS.seconds)


def test_a_body_that_came_late_leaves_little_time() -> None:
    wanted = chat({"messages": [{"role": "user", "content": "x"}]})
    assert 0 < ask_of(wanted, manner_of({b"x-colony-deadline": b"1"}, "r1", SETTINGS), spent=5).seconds < 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agent", b"Research 1"),
        ("agent", b"../x"),
        ("agent", b"\xff"),
        ("agent", b""),
        ("agent-type", b"a b"),
        ("job", b"a.b"),
        ("job", b"a*"),
        ("priority", b"0"),
        ("priority", b"6"),
        ("priority", b"urgent"),
        ("tier", b"best"),
        ("cache", b"maybe"),
        ("deadline", b"0"),
        ("deadline", b"-1"),
        ("deadline", b"nan"),
        ("deadline", b"inf"),
        ("deadline", b"soon"),
    ],
)
def test_wrong_headers_are_named(name: str, value: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        manner_of({f"x-colony-{name}".encode(): value}, "r1", SETTINGS)
    assert caught.value.param == f"x-colony-{name}"


def test_a_deadline_has_an_end() -> None:
    assert manner_of({b"x-colony-deadline": b"1e9"}, "r1", SETTINGS).seconds == SETTINGS.most_seconds


def test_requests_have_one_name() -> None:
    assert request_id_of({b"x-colony-request-id": b"mine"}, behind_serve=True) == "mine"
    assert request_id_of({b"x-request-id": b"serves"}, behind_serve=True) == "serves"
    assert request_id_of({b"x-request-id": b"theirs"}, behind_serve=False) != "theirs"
    assert request_id_of({b"x-request-id": b"a b\x00"}, behind_serve=True).isalnum()
    with pytest.raises(RequestRefused):
        request_id_of({b"x-colony-request-id": b"a b"}, behind_serve=False)
