"""A faster way through runs of plain messages for nats-py's protocol parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

MAX_CONTROL_LINE: Final = 4096

Dispatch = Callable[[int, bytes, bytes, bytes], bool]
"""Takes (subscription, subject, reply, data); False when the message must go the long way. Never raises."""


class RunParser(Parser):
    """Reads consecutive `MSG` frames by position instead of by regular expression and removal from the front.

    Everything else (headers, errors, pings, frames in parts) is left to nats-py.
    """

    def __init__(self, client: object, dispatch: Dispatch) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType] -- untyped in nats-py
        self._dispatch = dispatch

    async def parse(self, data: bytes = b"") -> None:
        """Take bytes from the socket. Raises `ProtocolError` on a frame that cannot be."""
        if self.state == AWAITING_CONTROL_LINE:
            if self.buf:
                data = bytes(self.buf) + data
                self.buf.clear()
            taken = self._take_messages(data)
            data = data[taken:] if taken else data
        if data:
            await super().parse(data)

    def _take_messages(self, data: bytes) -> int:
        """Dispatch the whole messages at the start of `data`; returns how many bytes they were."""
        dispatch = self._dispatch
        position = 0
        size = len(data)
        while data.startswith(b"MSG ", position):
            line_end = data.find(b"\r\n", position, position + MAX_CONTROL_LINE)
            if line_end < 0:
                break
            parts = data[position + 4 : line_end].split()
            if not 3 <= len(parts) <= 4:
                raise ProtocolError
            try:
                number, length = int(parts[1]), int(parts[-1])
            except ValueError:
                raise ProtocolError from None
            start = line_end + 2
            end = start + length
            if end + 2 > size:
                break
            if not dispatch(number, parts[0], parts[2] if len(parts) == 4 else b"", data[start:end]):
                break
            position = end + 2
        return position
