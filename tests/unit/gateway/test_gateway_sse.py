from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import Unavailable
from ray_app.gateway.backends.sse import EventParser

TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1, max_size=30)


def read(parser: EventParser, data: bytes, cuts: list[int]) -> list[bytes]:
    found: list[bytes] = []
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        found += parser.feed(data[start:end])
    return found + parser.finish()


@given(
    events=st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 600), max_size=20),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_events_are_read_wherever_they_are_cut(events: list[list[str]], end: str, cuts: list[int], mark: str) -> None:
    text = mark
    for lines in events:
        text += f": a comment{end}event: x{end}" + "".join(f"data: {line}{end}" for line in lines) + f"id: 7{end}{end}"
    expected = ["\n".join(lines).encode() for lines in events]
    assert read(EventParser(), text.encode(), cuts) == expected


def test_every_byte_alone() -> None:
    data = b'data: {"a": 1}\r\n\r\n: ping\r\n\r\ndata:{"b": 2}\r\n\r\ndata: [DONE]\r\n\r\n'
    assert read(EventParser(), data, list(range(len(data)))) == [b'{"a": 1}', b'{"b": 2}', b"[DONE]"]


def test_an_event_is_handed_out_as_soon_as_it_is_complete() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n") == []
    assert parser.feed(b"\ndata: two\n\ndata: thr") == [b"one", b"two"]
    assert parser.feed(b"ee\n\n") == [b"three"]
    assert parser.finish() == []


def test_the_end_without_a_blank_line() -> None:
    parser = EventParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == [b"[DONE]"]


@pytest.mark.parametrize("data", [b"x" * 50, b"data: " + b"x" * 50, b"data: 12345\n" * 20])
def test_an_event_has_a_largest_size(data: bytes) -> None:
    parser = EventParser(40)
    with pytest.raises(Unavailable):
        read(parser, data, list(range(len(data))))
    assert EventParser(40).feed(b"data: small\n\n" * 100) == [b"small"] * 100
