"""Which backend a request waits for: the first of its targets that works, and what to say when none does. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from colony.errors import ModelRefused, Overloaded, Unavailable
from ray_app.gateway.contracts import Target
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.slots import Health

_REMEDY: Final = "See `colony llm`."


def route(request: Request, lanes: Mapping[str, Lane], now: float) -> Lane:
    """Let the request wait for the first of its targets that takes it; returns the lane.

    Targets with a replica that is up come first, those whose replicas are all being checked after them. A target is
    left out while its breaker is open, its queue is full, its replicas are all down, draining or to be avoided, or its
    quota is out of reach. Raises `Overloaded` when a full queue or a quota was in the way, else `Unavailable`.
    """
    full: list[Lane] = []
    reasons: dict[Target, str] = {}
    avoid = request.ticket.avoid
    for standing in (Health.UP, Health.SUSPECT):
        for target in request.targets:
            lane = lanes.get(target.backend)
            if lane is None:
                reasons[target] = "not configured"
            elif lane.name in request.out_of_quota:
                reasons[target] = "its quota is used up"
            elif lane.standing(avoid) is not standing:
                reasons.setdefault(target, _down(lane, avoid))
            elif lane.full:
                full.append(lane)
            elif (given := lane.breaker(target.model).enter(now)) is None:
                wait = lane.breaker(target.model).opens_in(now)
                reasons[target] = (
                    f"its breaker is open for {wait:.0f} s more" if wait else "its breaker is trying it out"
                )
            else:
                lane.add(request, target, given, now)
                return lane
    if len(request.out_of_quota) == len(request.targets) and min(request.out_of_quota.values()) == math.inf:
        raise ModelRefused(
            f"The request may use {request.ticket.tokens} tokens, more than the quota of its provider in a minute.",
            remedy="Shorten it, or lower max_tokens.",
        )
    waits = [lane.room_in() for lane in full] + [wait for wait in request.out_of_quota.values() if wait < math.inf]
    if waits:
        what = "The queue of the model is full." if full else "The quota of the model's provider is used up."
        raise Overloaded(what, remedy=_REMEDY, retry_after=min(waits))
    told = "; ".join(f"{target.model} on {target.backend}: {reason}" for target, reason in reasons.items())
    raise Unavailable(f"No model can take the request. {told}."[:500], remedy=_REMEDY)


def _down(lane: Lane, avoid: tuple[str, ...]) -> str:
    if all(replica.name in avoid for replica in lane.replicas.values()):
        return "every replica failed this request"
    problems = {replica.problem or "draining" for replica in lane.replicas.values() if not replica.usable}
    return f"no replica works ({', '.join(sorted(problems)) or 'none left'})"
