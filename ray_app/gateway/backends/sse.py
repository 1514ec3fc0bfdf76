"""Server-sent events: from bytes to the data of each event, cut anywhere. Pure.

Follows the WHATWG's "Server-sent events": lines end with LF, CRLF or CR; a blank line ends an event; several `data`
lines of one event are joined by LF; comments and other fields are skipped.
"""

from __future__ import annotations

from typing import Final

from colony.errors import Unavailable

MAX_EVENT: Final = 4_000_000
"""Most bytes of one event."""

_MARK: Final = b"\xef\xbb\xbf"


class EventParser:
    """Takes bytes as they come, hands out the data of every event that is complete."""

    def __init__(self, most_bytes: int = MAX_EVENT) -> None:
        self._most = most_bytes
        self._tail = bytearray()
        """A line that has no end yet."""
        self._data: list[bytes] = []
        """Lines of the event under way."""
        self._size = 0
        self._began = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that end in `data`. Raises `Unavailable` for one that is too large."""
        self._tail += data
        if b"\n" not in data and b"\r" not in data and not self._tail.endswith(b"\r", 0, len(self._tail) - len(data)):
            self._check()
            return []
        events: list[bytes] = []
        for line in self._lines():
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                self._data.append(value)
                self._size += len(value)
            elif not line and self._data:
                events.append(self._taken())
            elif line == b"data":
                self._data.append(b"")
        self._check()
        return events

    def finish(self) -> list[bytes]:
        """The stream has ended: the event whose blank line is missing, if there is one. It may be half an event."""
        return [*self.feed(b"\n\n")] if self._tail or self._data else []

    def _lines(self) -> list[bytes]:
        """Whole lines, taken from the tail."""
        tail = bytes(self._tail)
        if not self._began:
            if _MARK.startswith(tail[:3]) and len(tail) < len(_MARK):
                return []
            tail = tail.removeprefix(_MARK)
            self._began = True
        # A CR at the very end may be the first half of CRLF: it stays until the next byte is there.
        end = max(tail.rfind(b"\n"), tail.rfind(b"\r", 0, len(tail) - 1)) + 1
        self._tail = bytearray(tail[end:])
        return tail[:end].splitlines()

    def _taken(self) -> bytes:
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        return event

    def _check(self) -> None:
        if len(self._tail) + self._size > self._most:
            raise Unavailable(f"The model server sent an event of more than {self._most:,} bytes.")
