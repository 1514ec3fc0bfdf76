"""What the end of a call says of its replica and of its breaker. Pure."""

from __future__ import annotations

from typing import Final

from colony.errors import DeadlineExceeded, Overloaded, by_name
from ray_app.gateway.breaker import Verdict, verdict
from ray_app.gateway.contracts import Ended
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.slots import Health, Replica

OWN_DEADLINE: Final = 0.25
"""A call that ended so close to the deadline of its caller ended because of it. Seconds."""

QUIET: Final = 5.0
"""Seconds without a first piece after which a caller's leaving makes the replica suspect."""

LONGEST_PAUSE: Final = 60.0
"""Most seconds a replica is left alone because it asked for it."""


def judge(lane: Lane, request: Request, replica: Replica, ended: Ended, now: float) -> Verdict:
    """Note the end of a call on its replica; returns what its breaker should hear.

    Failures of a replica that is known to be broken say nothing of the backend's other replicas: while one of them is
    up, only the first of a wave counts.
    """
    replica.end(lane.joins(request.ticket))
    own_deadline = now >= request.deadline - OWN_DEADLINE
    says = verdict(ended.outcome, own_deadline=own_deadline)
    if says is Verdict.GOOD:
        replica.answered(now)
        lane.measure(ended.seconds or now - request.began)
    elif says is Verdict.BAD:
        if replica.health is not Health.UP and lane.standing((replica.name,)) is Health.UP:
            return Verdict.NOTHING
    elif issubclass(by_name(ended.outcome), Overloaded):
        replica.refused(now)
        if ended.retry_after > 0 and lane.config.kind != "openai":  # there it is the quota that is used up
            pause = now + min(ended.retry_after, LONGEST_PAUSE)
            replica.paused_until = max(replica.paused_until, pause)
    return says


def problem(request: Request, replica: Replica, ended: Ended, says: Verdict) -> str:
    """Why the replica should be checked after this call; empty when it need not be.

    Failures are a reason. So is silence: a caller that leaves before its first piece, while nothing else on the replica
    has worked since the call began, may have met a server that hangs.
    """
    if says is Verdict.BAD:
        return f"a call ended with {ended.outcome}"
    gone = ended.outcome == "cancelled" or issubclass(by_name(ended.outcome), DeadlineExceeded)
    if gone and not ended.first and ended.seconds >= QUIET and replica.worked < request.began:
        return f"no answer within {ended.seconds:.0f} s"
    return ""
