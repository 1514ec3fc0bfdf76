"""What a webhook gets: a signed POST that a receiver can check, and tell from its repetition. Pure functions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import orjson

from colony.sites import NoticeRow

SIGNATURE: Final = "X-Colony-Signature"
"""`t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>` under the monitor's secret."""

DELIVERY: Final = "X-Colony-Delivery"
"""`<job>-<first event>-<last event>`: the same for each attempt to deliver these events."""


def event_of(notice: NoticeRow) -> dict[str, Any]:
    """One event, as subscribers of the bus and receivers of the webhook get it."""
    return {
        "event": notice.notice,
        "kind": notice.kind,
        "site": notice.site,
        "url": notice.url,
        "at": notice.at,
        "before": notice.before,
        "reason": notice.reason,
    }


def body_of(job: int, workflow_id: str, notices: Sequence[NoticeRow]) -> bytes:
    """The body of a POST that tells these."""
    return orjson.dumps({"job": job, "workflow_id": workflow_id, "events": [event_of(each) for each in notices]})


def delivery_of(job: int, notices: Sequence[NoticeRow]) -> str:
    """The value of the header `DELIVERY`."""
    return f"{job}-{notices[0].notice}-{notices[-1].notice}"


def headers_of(body: bytes, secret: str, delivery: str, now: float) -> dict[str, str]:
    """The headers that go with `body`, signed at `now`."""
    return {"Content-Type": "application/json", SIGNATURE: sign(body, secret, now), DELIVERY: delivery}


def sign(body: bytes, secret: str, now: float) -> str:
    """The value of the header `SIGNATURE`."""
    at = str(int(now))
    digest = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def is_signed(body: bytes, secret: str, signature: str, now: float, *, tolerance: float = 300.0) -> bool:
    """Whether `signature` is that of `body`, made at most `tolerance` seconds ago: what a receiver checks."""
    at = signature.partition(",")[0].removeprefix("t=")
    if not at.isascii() or not at.isdigit() or len(at) > 12 or abs(now - int(at)) > tolerance:
        return False
    return hmac.compare_digest(sign(body, secret, float(at)), signature)
