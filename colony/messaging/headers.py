"""The one header of a message: its `traceparent`, for tools that know nothing of our envelopes. Pure.

The envelope says the same and is what we go by: a message with headers costs the client more, so only messages of a
trace that is kept have one.
"""

from __future__ import annotations

from typing import Final

from colony.messaging.port import Envelope
from colony.telemetry.context import HEADER, kept_trace, parse

_VERSION: Final = b"NATS/1.0"


def encode_headers(trace: str) -> bytes:
    """The block of headers for a `traceparent`; empty for one of a trace that is not kept, and for nonsense."""
    if not kept_trace(trace):
        return b""
    return b"%b\r\n%b: %b\r\n\r\n" % (_VERSION, HEADER.encode(), str(parse(trace)).encode())


def with_trace_of(envelope: Envelope, headers: bytes) -> Envelope:
    """The envelope of somebody who says the trace in a header only; as it was for a header that is none."""
    for line in headers.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == HEADER.encode():
            found = parse(value.strip().decode("latin-1"))
            return envelope if found is None else envelope.model_copy(update={"trace": str(found)})
    return envelope
