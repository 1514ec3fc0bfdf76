"""Payloads as the command line and the web UI of Temporal send them to a codec endpoint: JSON of `Payloads`."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payloads
from temporalio.converter import PayloadCodec

from colony.errors import BadInput


async def encoded(codec: PayloadCodec, body: dict[str, Any]) -> dict[str, Any]:
    """The payloads of `body`, encrypted. Raises `BadInput`."""
    return _json(Payloads(payloads=await codec.encode(_payloads(body).payloads)))


async def decoded(codec: PayloadCodec, body: dict[str, Any]) -> dict[str, Any]:
    """The payloads of `body`, readable; what was never encrypted as it is. Raises `BadInput`, `Unreadable`."""
    return _json(Payloads(payloads=await codec.decode(_payloads(body).payloads)))


def _payloads(body: dict[str, Any]) -> Payloads:
    try:
        return ParseDict(body, Payloads(), ignore_unknown_fields=True)
    except ParseError as error:
        raise BadInput(f"These are no payloads: {str(error)[:200]}.") from error


def _json(payloads: Payloads) -> dict[str, Any]:
    return {"payloads": [MessageToDict(each) for each in payloads.payloads]}
