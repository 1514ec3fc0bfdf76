from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

from colony.messaging.parsing import RunParser


class Recorder:
    """Plays the client of nats-py's parser and the dispatch of ours."""

    def __init__(self, direct: set[int]) -> None:
        self.direct = direct
        self.got: list[tuple[int, bytes, bytes, bytes]] = []
        self.pings = 0

    def dispatch(self, number: int, subject: bytes, reply: bytes, data: bytes) -> bool:
        if number not in self.direct:
            return False
        self.got.append((number, subject, reply, data))
        return True

    async def _process_msg(self, number: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.got.append((number, subject, reply, data))

    async def _process_ping(self) -> None:
        self.pings += 1


_message = st.tuples(
    st.integers(1, 4),
    st.sampled_from([b"a", b"colony.agent.1.x", b"\xff\xfe"]),
    st.sampled_from([b"", b"_INBOX.1"]),
    st.binary(max_size=60) | st.sampled_from([b"MSG a 1 3\r\n", b"PING\r\n", b"\r\n"]),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(_message, st.just("ping")), max_size=12), st.lists(st.integers(1, 80), max_size=40))
async def test_every_message_once_and_in_order_however_the_bytes_are_cut(frames, cuts):
    stream = b""
    for frame in frames:
        if frame == "ping":
            stream += b"PING\r\n"
            continue
        number, subject, reply, data = frame
        middle = b" " + reply if reply else b""
        stream += b"MSG %b %d%b %d\r\n%b\r\n" % (subject, number, middle, len(data), data)
    recorder = Recorder({1, 2})
    parser = RunParser(recorder, recorder.dispatch)
    for cut in cuts:
        await parser.parse(stream[:cut])
        stream = stream[cut:]
    await parser.parse(stream)
    assert recorder.got == [frame for frame in frames if frame != "ping"]
    assert recorder.pings == frames.count("ping")


@pytest.mark.parametrize("line", [b"MSG a\r\n", b"MSG a b 3\r\nabc\r\n", b"MSG a 1 r r 3\r\nabc\r\n", b"MSG a 1 x\r\n"])
async def test_a_broken_frame_is_a_protocol_error(line):
    recorder = Recorder({1})
    with pytest.raises(ProtocolError):
        await RunParser(recorder, recorder.dispatch).parse(line)
