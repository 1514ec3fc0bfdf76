"""The body of a page, bounded before and after decompression. Pure, no I/O."""

from __future__ import annotations

import zlib
from typing import Any

from colony.errors import NotPermitted, TooLarge, Unavailable


class BodyReader:
    """Collects a body of at most `most` bytes; `encoding` is the Content-Encoding.

    Never holds more than `most` bytes and one chunk, whatever a small compressed body would become.
    """

    def __init__(self, encoding: str, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise NotPermitted(f"The page is encoded as {name[:40]!r}, which was not asked for.")
        # 32 + 15: gzip and zlib headers are told apart by zlib itself.
        self._inflater: Any = None if name in ("", "identity") else zlib.decompressobj(32 + 15)

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they came. Raises `TooLarge` when there are too many, `Unavailable` when broken."""
        if self._inflater is None:
            self._keep(chunk)
            return
        try:
            while chunk:
                # One byte more than may be kept, so that a bomb is seen without being unpacked.
                self._keep(self._inflater.decompress(chunk, self._most - self._size + 1))
                chunk = self._inflater.unconsumed_tail
                if self._inflater.eof:
                    return
        except zlib.error as error:
            raise Unavailable("The compressed page is broken.") from error

    def finish(self) -> bytes:
        """The whole body. Raises `Unavailable` when it was cut off."""
        if self._inflater is not None and self._parts and not self._inflater.eof:
            raise Unavailable("The compressed page was cut off.")
        return b"".join(self._parts)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            raise TooLarge(f"The page is larger than the {self._most} bytes allowed.")
        if data:
            self._parts.append(data)
