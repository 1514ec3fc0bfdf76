"""What a request waits for, said to a person. Pure."""

from __future__ import annotations

from typing import Any

from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.slots import Health


def explain(request: Request, lane: Lane, now: float) -> dict[str, Any]:
    """What a request waits for or where it runs, since when, its place, and what would free it. Seconds throughout."""
    ticket = request.ticket
    common: dict[str, Any] = {
        "request_id": ticket.request_id,
        "agent": ticket.caller.name,
        "priority": ticket.priority,
        "backend": lane.name,
        "model": request.target.model,
        "gives_up_in": round(max(0.0, request.deadline - now), 3),
    }
    if request.replica is not None:
        return {
            **common,
            "state": "running",
            "waits_for": "",
            "replica": request.replica.name,
            "since": round(now - request.began, 3),
            "freed_by": "the end of its answer",
        }
    place = _place(request, lane, now)
    waits_for, freed_by = _reason(request, lane, now)
    return {
        **common,
        "state": "waiting",
        "waits_for": waits_for,
        "since": round(now - request.arrived, 3),
        "place": place + 1,
        "of": len(lane),
        "expected": round(lane.expected(place), 3),
        "freed_by": freed_by,
    }


def _place(request: Request, lane: Lane, now: float) -> int:
    """How many go before it."""
    request_id = request.ticket.request_id
    if request_id in lane.parked:
        return list(lane.parked).index(request_id)
    return len(lane.parked) + lane.queue.place(request_id, now)


def _reason(request: Request, lane: Lane, now: float) -> tuple[str, str]:
    avoid = request.ticket.avoid
    if lane.standing(avoid) is Health.SUSPECT:
        problems = [f"{replica.name} ({replica.problem})" for replica in lane.replicas.values() if replica.problem]
        return "health", f"a check that works of {', '.join(problems)}"
    if lane.paced_until > now:
        return "quota", f"the quota of {lane.name}, in {lane.paced_until - now:.1f} s"
    if lane.held_until > now:
        return "quota", f"{lane.name} asked to be left alone; it is asked again in {lane.held_until - now:.1f} s"
    mine = [replica for replica in lane.replicas.values() if replica.usable and replica.name not in avoid]
    paused = [replica.paused_until - now for replica in mine if replica.paused_until > now]
    if mine and len(paused) == len(mine):
        return "overload", f"{lane.name} said it is overloaded; it is asked again in {min(paused):.1f} s"
    running = sum(replica.in_flight for replica in mine)
    return "slot", f"the end of one of {running} calls under way on {', '.join(replica.name for replica in mine)}"
