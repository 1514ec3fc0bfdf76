"""Which backend a request waits for: the first of its targets that works, and what to say when none does. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from colony.errors import ColonyError, ModelRefused, Overloaded, Unavailable
from ray_app.gateway.breaker import State
from ray_app.gateway.contracts import Target
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.slots import Health

_REMEDY: Final = "See `colony llm`."

_READY: Final = 0
_ASKED_TO_WAIT: Final = 1
_CHECKED: Final = 2


def route(request: Request, lanes: Mapping[str, Lane], now: float, first: Target | None = None) -> Lane:
    """Let the request wait for the first of its targets that takes it; returns the lane.

    Targets that take calls now come first, among them `first`, after them those that asked to be left alone for a
    while, last those whose replicas are all being checked. A target is left out while its breaker is open, its queue
    is full, its replicas are all down, draining or to be avoided, or its quota is out of reach. Raises `Overloaded`
    when a full queue or a quota was in the way, else `Unavailable`.
    """
    full: list[Lane] = []
    reasons: dict[Target, str] = {}
    avoid = request.ticket.avoid
    targets = request.targets if first is None else (first, *request.targets)
    for rank in (_READY, _ASKED_TO_WAIT, _CHECKED):
        for target in targets:
            lane = lanes.get(target.backend)
            if lane is None:
                reasons[target] = "not configured"
            elif lane.name in request.out_of_quota:
                reasons[target] = "its quota is used up"
            elif (found := _rank(lane, avoid, now)) != rank:
                if found is None:
                    reasons[target] = _down(lane, avoid)
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
    raise _nobody(request, full, reasons)


def _nobody(request: Request, full: Sequence[Lane], reasons: Mapping[Target, str]) -> ColonyError:
    """Why none of its targets takes a request."""
    if len(request.out_of_quota) == len(request.targets) and min(request.out_of_quota.values()) == math.inf:
        return ModelRefused(
            f"The request may use {request.ticket.tokens} tokens, more than the quota of its provider in a minute.",
            remedy="Shorten it, or lower max_tokens.",
        )
    waits = [lane.room_in() for lane in full] + [wait for wait in request.out_of_quota.values() if wait < math.inf]
    if waits:
        what = "The queue of the model is full." if full else "The quota of the model's provider is used up."
        return Overloaded(what, remedy=_REMEDY, retry_after=min(waits))
    told = "; ".join(f"{target.model} on {target.backend}: {reason}" for target, reason in reasons.items())
    return Unavailable(f"No model can take the request. {told}."[:500], remedy=_REMEDY)


def sooner_elsewhere(request: Request, lanes: Mapping[str, Lane], now: float) -> Target | None:
    """The first other target on which a request begins earlier that waits where all asked to be left alone; or None.

    By what is known of it: as many move as the others can take in that time, and no queue is tipped over into another.
    """
    ticket = request.ticket
    pause = lanes[request.target.backend].pause(ticket.avoid, now)
    if pause <= 0:
        return None
    for target in request.targets:
        lane = lanes.get(target.backend)
        if lane is None or lane.full or lane.name in request.out_of_quota or _rank(lane, ticket.avoid, now) != _READY:
            continue
        if lane.breaker(target.model).state(now) is State.CLOSED and lane.begins_in(now) < pause:
            return target
    return None


def _rank(lane: Lane, avoid: Collection[str], now: float) -> int | None:
    """In which round of `route` a lane is asked; None when it can take nothing."""
    match lane.standing(avoid):
        case Health.UP:
            return _ASKED_TO_WAIT if lane.pause(avoid, now) > 0 else _READY
        case Health.SUSPECT:
            return _CHECKED
        case Health.DOWN:
            return None


def _down(lane: Lane, avoid: tuple[str, ...]) -> str:
    if all(replica.name in avoid for replica in lane.replicas.values()):
        return "every replica failed this request"
    problems = {replica.problem or "draining" for replica in lane.replicas.values() if not replica.usable}
    return f"no replica works ({', '.join(sorted(problems)) or 'none left'})"
