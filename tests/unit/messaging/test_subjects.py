from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput
from colony.ids import AgentId, agent_subject, shard_of, shard_subject
from colony.messaging.subjects import (
    covers,
    inbox_prefix,
    is_reply_subject,
    matches,
    publish_subject,
    queue_group,
    subscribe_subject,
)

BAD_ANYWHERE = [
    "", ".", "..", ".a", "a.", "a..b", "a b", "a\tb", "a\r\nPUB x 0\r\n", "a\n", "a\x00", "a/b", "a%2f", "a?x", "a#",
    "\u202eabc", "\U0001f600", "$JS.API.x", "a" * 256, "a.b" * 200, ".".join("a" * 17), "a*", "a>", "a.>.b", ">.a",
    "*a.b",
]  # fmt: skip


@pytest.mark.parametrize("subject", [*BAD_ANYWHERE, "*", ">", "a.*", "a.>", "a.*.b"])
def test_not_a_subject_to_send_to(subject):
    with pytest.raises(BadInput):
        publish_subject(subject)


@pytest.mark.parametrize("subject", BAD_ANYWHERE)
def test_not_a_subject_to_subscribe_to(subject):
    with pytest.raises(BadInput):
        subscribe_subject(subject)


@pytest.mark.parametrize("subject", ["a", "a.b", "colony.event.task-done.Run_7", "_INBOX_host.1.2"])
def test_sound_subjects(subject):
    assert publish_subject(subject) == subject
    assert subscribe_subject(subject) == subject


@pytest.mark.parametrize("subject", ["*", ">", "a.*", "*.*", "a.*.b", "a.>", "*.>"])
def test_wildcards_to_subscribe_to(subject):
    assert subscribe_subject(subject) == subject


@pytest.mark.parametrize("queue", ["a b", "a.b", "a\r\n", "*", "x" * 65])
def test_bad_queue_groups(queue):
    with pytest.raises(BadInput):
        queue_group(queue)


@pytest.mark.parametrize(
    ("subject", "sound"),
    [
        ("_INBOX.abc.1", True),
        ("_INBOX_client.abc.1", True),
        ("_INBOX_client", False),
        ("_INBOX_client.", False),
        ("_INBOX_client.>", False),
        ("$JS.API.STREAM.DELETE.colony_events", False),
        ("colony.agent.1.victim", False),
        ("_INBOX_client.a b", False),
        ("_INBOX." + "a" * 300, False),
        ("", False),
    ],
)
def test_answers_go_to_inboxes_only(subject, sound):
    assert is_reply_subject(subject) is sound


@pytest.mark.parametrize("role", ["", "Host", "a.b", "*", "a" * 33])
def test_bad_roles(role):
    with pytest.raises(BadInput):
        inbox_prefix(role)


@pytest.mark.parametrize(
    ("pattern", "subject", "taken"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_matching(pattern, subject, taken):
    assert matches(pattern, subject) is taken


@pytest.mark.parametrize(
    ("allowed", "pattern", "covered"),
    [
        ("colony.>", "colony.agent.*.x", True),
        ("colony.agent.>", "colony.>", False),
        ("colony.agent.>", "colony.*.1", False),
        ("colony.*", "colony.>", False),
        ("colony.*", "colony.*", True),
        ("colony.event.>", "colony.event.>", True),
        ("colony.event", "*.event", False),
    ],
)
def test_covering(allowed, pattern, covered):
    assert covers(allowed, pattern) is covered


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True))
def test_every_agent_can_be_addressed(name):
    agent = AgentId(name)
    subject = publish_subject(agent_subject(agent))
    assert matches(subscribe_subject(shard_subject(shard_of(agent))), subject)
    assert matches("colony.agent.>", subject)


_parts = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4)


@given(_parts, _parts, st.booleans(), st.booleans(), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5))
def test_what_is_covered_is_also_matched(allowed, pattern, open_allowed, open_pattern, subject):
    outer = ".".join([*allowed, *([">"] * open_allowed)])
    inner = ".".join([*pattern, *([">"] * open_pattern)])
    if covers(outer, inner) and matches(inner, ".".join(subject)):
        assert matches(outer, ".".join(subject))
