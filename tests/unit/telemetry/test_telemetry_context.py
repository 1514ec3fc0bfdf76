from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colony.llm.trace import traceparent
from colony.messaging.headers import encode_headers, with_trace_of
from colony.messaging.port import Envelope
from colony.telemetry.context import SpanName, kept_trace, parse, span_id_of, trace_id_of

KEPT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
LEFT = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"


def test_what_a_traceparent_says() -> None:
    assert parse(KEPT) == SpanName("a" * 32, "b" * 16, sampled=True)
    assert str(parse(LEFT)) == LEFT
    assert (kept_trace(KEPT), kept_trace(LEFT), kept_trace("")) == ("a" * 32, "", "")
    assert parse("01-" + KEPT[3:] + "-of-a-later-version") is not None


@given(st.text() | st.sampled_from(["00-" + "0" * 32 + KEPT[35:], KEPT[:36] + "0" * 16 + "-01", "ff" + KEPT[2:]]))
def test_nonsense_says_nothing(text: str) -> None:
    assert parse(text) is None
    assert kept_trace(text) == ""
    assert encode_headers(text) == b""


def test_names_are_the_same_wherever_they_are_computed() -> None:
    assert trace_id_of("key") == traceparent("key").split("-")[1], "as calls of models say without traces"
    assert span_id_of("step", "run", 1) == span_id_of("step", "run", 1)
    assert len({span_id_of("step", "run", 1), span_id_of("step", "run1"), span_id_of("step", "ru", "n1")}) == 3


def test_the_header_of_a_message_is_read_back() -> None:
    block = encode_headers(KEPT)
    assert block == b"NATS/1.0\r\ntraceparent: " + KEPT.encode() + b"\r\n\r\n"
    assert with_trace_of(Envelope(kind="x"), block).trace == KEPT
    assert with_trace_of(Envelope(kind="x"), b"NATS/1.0\r\nother: 1\r\nTraceParent:no\r\n\r\n").trace == ""
    assert encode_headers(LEFT) == b""


@given(st.binary())
def test_any_bytes_may_stand_where_headers_do(block: bytes) -> None:
    assert with_trace_of(Envelope(kind="x"), block).kind == "x"
