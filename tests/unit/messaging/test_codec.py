from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput
from colony.messaging.codec import MAX_NESTING, decode, encode
from colony.messaging.port import MAX_ENVELOPE, Envelope

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(
    kind=_text.filter(bool),
    payload=st.dictionaries(_text, _json, max_size=5),
    sender=_text,
    message_id=_text,
    trace=_text,
    deadline=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    error=_text,
)
def test_what_is_encoded_comes_back(kind, payload, sender, message_id, trace, deadline, error):
    envelope = Envelope(
        kind=kind,
        payload=payload,
        sender=sender,
        message_id=message_id,
        trace=trace,
        deadline=deadline,
        error=error,
        error_message=error,
    )
    assert decode(encode(envelope)) == envelope


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data):
    with contextlib.suppress(BadInput):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"kind"',
        b"{",
        b"NaN",
        b'{"kind":"x"}',
        b'{"version":1}',
        b'{"version":1,"kind":""}',
        b'{"version":1,"kind":null}',
        b'{"version":1,"kind":7}',
        b'{"version":2,"kind":"x"}',
        b'{"version":0,"kind":"x"}',
        b'{"version":"1","kind":"x"}',
        b'{"version":true,"kind":"x"}',
        b'{"version":1.0,"kind":"x"}',
        b'{"version":1,"kind":"x","payload":null}',
        b'{"version":1,"kind":"x","payload":[]}',
        b'{"version":1,"kind":"x","payload":{"n":1e400}}',
        b'{"version":1,"kind":"x","payload":{"n":NaN}}',
        b'{"version":1,"kind":"x","deadline":"soon"}',
        b'{"version":1,"kind":"x","deadline":1e400}',
        b'{"version":1,"kind":"x","sender":["a"]}',
        b'{"version":1,"kind":"x","surprise":1}',
        b'{"version":1,"kind":"x","payload":{"s":"\xff\xfe"}}',
        b'{"version":1,"kind":"x","payload":{"s":"\\ud800"}}',
        b'\xef\xbb\xbf{"version":1,"kind":"x"}',
        '{"version":1,"kind":"x"}'.encode("utf-16"),
        gzip.compress(b'{"version":1,"kind":"x"}'),
        b"[" * 100_000,
        b'{"version":1,"kind":"x","payload":{"a":' + b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"}}",
        b'{"version":1,"kind":"x","payload":{"a":"' + b"a" * MAX_ENVELOPE + b'"}}',
    ],
    ids=lambda data: repr(data[:40]),
)
def test_refused(data):
    with pytest.raises(BadInput) as caught:
        decode(data)
    assert len(str(caught.value)) < 400


def test_a_refusal_never_repeats_the_content():
    with pytest.raises(BadInput) as caught:
        decode(json.dumps({"version": 1, "kind": "x", "deadline": "s3cret-value"}).encode())
    assert "s3cret" not in str(caught.value)


def test_many_brackets_that_are_flat_pass():
    envelope = Envelope(kind="x", payload={"rows": [{"n": [n]} for n in range(1000)], "text": "[{" * 500})
    assert decode(encode(envelope)) == envelope


def test_size_is_met_exactly():
    empty = len(encode(Envelope(kind="x", payload={"a": "b"}))) - 1
    fits = Envelope(kind="x", payload={"a": "b" * (MAX_ENVELOPE - empty)})
    assert len(encode(fits)) == MAX_ENVELOPE
    assert decode(encode(fits)) == fits
    with pytest.raises(BadInput):
        encode(Envelope(kind="x", payload={"a": "b" * (MAX_ENVELOPE - empty + 1)}))


def _nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "payload", [{"a": {1, 2}}, {"a": object()}, {"a": 2**70}, {"a": "\ud800"}, _nested(MAX_NESTING), _nested(600)]
)
def test_what_cannot_travel_is_refused_before_it_is_sent(payload):
    with pytest.raises(BadInput):
        encode(Envelope.model_construct(version=1, kind="x", payload=payload))


def test_a_deadline_of_zero_is_a_deadline():
    assert decode(encode(Envelope(kind="x", deadline=0.0))).deadline == 0.0


def test_an_envelope_without_kind_is_not_sent():
    with pytest.raises(BadInput):
        encode(Envelope(kind=""))
