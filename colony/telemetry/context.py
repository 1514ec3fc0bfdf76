"""W3C `traceparent` as text: read, written, and derived from a name. Pure.

See https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
"""Name of the HTTP header, and of that of a message."""

_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class SpanName(NamedTuple):
    """What a `traceparent` says."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse(traceparent: str) -> SpanName | None:
    """What it says; None for anything that is no valid one, as W3C asks."""
    found = _FORM.fullmatch(traceparent)
    if found is None or traceparent.startswith("ff") or not found[1].strip("0") or not found[2].strip("0"):
        return None
    return SpanName(found[1], found[2], bool(int(found[3], 16) & 1))


def kept_trace(traceparent: str) -> str:
    """The trace id under which it can be looked up; empty where nothing is kept of it."""
    found = parse(traceparent)
    return found.trace_id if found is not None and found.sampled else ""


def trace_id_of(name: str) -> str:
    """The trace id that belongs to a name, such as the key of a job: whoever has the name finds the trace."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def span_id_of(*parts: object) -> str:
    """The span id that belongs to these parts: the same wherever and whenever it is computed."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
