"""What the headers of a request say about who asks and how. Pure; raises `RequestRefused` with the header's name."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from colony.errors import BadInput
from colony.ids import AgentId, AgentType, token
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.keys import Headers
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.api.wanted import Wanted
from ray_app.gateway.contracts import HIGH, LOW, NORMAL, Ask, CachePolicy, Caller
from ray_app.gateway.plan import TIERS

Value = TypeVar("Value")

_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW, **{str(n): n for n in range(HIGH, LOW + 1)}}
_TRACE = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Manner:
    """Everything a request says in its headers."""

    request_id: str
    seconds: float
    caller: Caller = field(default_factory=Caller)
    named: bool = False
    """Whether the caller gave a name."""
    tier: str = ""
    priority: int = NORMAL
    cache: CachePolicy = CachePolicy.AUTO


def request_id_of(headers: Headers, *, behind_serve: bool) -> str:
    """The caller's own id, else the one of Ray Serve, else a new one."""
    own = _parsed(headers, b"x-colony-request-id", token)
    if own is not None:
        return own
    if behind_serve:
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        try:
            return token(given)
        except BadInput:
            return new_request_id()  # whatever a caller put there: only Serve's own ids are of use
    return new_request_id()


def new_request_id() -> str:
    """Unique, short enough to type."""
    return secrets.token_hex(8)


def manner_of(headers: Headers, request_id: str, settings: ApiSettings) -> Manner:
    """All that the headers say. Those of `X-Colony-*` must be right; a broken `traceparent` is ignored, as W3C asks."""
    trace = headers.get(b"traceparent", b"").decode("latin-1")
    if not any(name.startswith(b"x-colony-") for name in headers):
        caller = Caller(trace=trace) if _TRACE.fullmatch(trace) else _NOBODY
        return Manner(request_id, settings.seconds, caller)
    agent = _parsed(headers, b"x-colony-agent", AgentId)
    caller = Caller(
        name=_NOBODY.name if agent is None else str(agent),
        agent_type=str(_parsed(headers, b"x-colony-agent-type", AgentType) or ""),
        job=_parsed(headers, b"x-colony-job", token) or "",
        trace=trace if _TRACE.fullmatch(trace) else "",
    )
    return Manner(
        request_id=request_id,
        seconds=min(_parsed(headers, b"x-colony-deadline", _seconds) or settings.seconds, settings.most_seconds),
        caller=caller,
        named=agent is not None,
        tier=_parsed(headers, b"x-colony-tier", _tier) or "",
        priority=_parsed(headers, b"x-colony-priority", _priority) or NORMAL,
        cache=_parsed(headers, b"x-colony-cache", _cache) or CachePolicy.AUTO,
    )


_NOBODY: Final = Caller()


def ask_of(wanted: Wanted, manner: Manner, *, spent: float) -> Ask:
    """Body and headers put together; `spent` is the time the body took to arrive, in seconds."""
    caller = manner.caller
    if wanted.user and not manner.named:
        caller = caller.model_copy(update={"name": wanted.user})
    of_tier = wanted.model in TIERS
    return Ask(
        request_id=manner.request_id,
        kind=wanted.kind,
        caller=caller,
        model="" if of_tier else wanted.model,
        tier=wanted.model if of_tier else manner.tier,
        body=wanted.body,
        priority=manner.priority,
        cache=manner.cache,
        seconds=max(manner.seconds - spent, 0.001),
    )


def _parsed(headers: Headers, name: bytes, parse: Callable[[str], Value]) -> Value | None:
    raw = headers.get(name)
    if raw is None:
        return None
    try:
        return parse(raw.decode("ascii"))
    except (ValueError, KeyError, BadInput) as error:
        shown = repr(raw[:80].decode("latin-1"))
        why = str(error) if isinstance(error, BadInput) else _EXPECTED.get(name, "")
        raise RequestRefused(
            f"Header {name.decode()}: {shown} is refused. {why}".rstrip(), param=name.decode()
        ) from error


_EXPECTED: Final = {
    b"x-colony-priority": "Use high, normal, low or 1 to 5.",
    b"x-colony-tier": f"Use {', '.join(TIERS)}.",
    b"x-colony-cache": "Use auto, always or never.",
    b"x-colony-deadline": "Use the seconds left, more than 0.",
}


def _priority(value: str) -> int:
    return _PRIORITIES[value.strip().lower()]


def _tier(value: str) -> str:
    return TIERS[TIERS.index(value)]  # pyright: ignore[reportArgumentType] -- any string: not one of them raises ValueError


def _cache(value: str) -> CachePolicy:
    return CachePolicy(value.strip().lower())


def _seconds(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(value)
    return seconds
