"""The decisions of the owner: who waits where, who goes next, what the end of a call changes. Never waits itself."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from colony.clock import Clock
from colony.errors import Cancelled, ColonyError, Unavailable
from ray_app.gateway.breaker import Verdict
from ray_app.gateway.contracts import Ended, Grant, Target
from ray_app.gateway.ends import judge, problem
from ray_app.gateway.heap import Heap
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.permits import Limits
from ray_app.gateway.refusals import Refusals, late
from ray_app.gateway.routing import route, sooner_elsewhere
from ray_app.gateway.slots import Health, Replica

_log = structlog.get_logger(__name__)

LEASE_MARGIN: Final = 10.0
"""Seconds after the deadline of its ticket at which a grant that was never released is taken back."""


class Dispatch:
    """Holds every request from `submit` to its end. Each method is one step of the event loop.

    `alarm` is told when `tick` is due next, `wake` which replica's health has changed.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        limits: Limits,
        clock: Clock,
        *,
        alarm: Callable[[float], None],
        wake: Callable[[str], None],
    ) -> None:
        self.lanes = {lane.name: lane for lane in lanes}
        self.limits = limits
        self.refusals = Refusals()
        self.requests: dict[str, Request] = {}
        self._clock = clock
        self._alarm = alarm
        self._wake = wake
        self._dues: Heap[Request] = Heap()
        self._stirred: deque[Lane] = deque()
        self._pumping = False

    def submit(self, request: Request) -> None:
        """Let a request wait, or go at once. Raises what `route` raises."""
        lane = route(request, self.lanes, request.arrived)
        self.requests[request.ticket.request_id] = request
        self._due(request, request.deadline)
        self._stir(lane, request.arrived)
        if not request.granted.done() and lane.paced_until > request.deadline:
            request.out_of_quota[lane.name] = lane.paced_until - request.arrived
            self._move(request, "quota", request.arrived)
            self._stir(lane, request.arrived)

    def close(self) -> None:
        """Refuse all that wait."""
        for request in tuple(self.requests.values()):
            if request.replica is None:
                self._fail(request, "closed", Unavailable("The gateway is stopping."))

    def suspect(self, lane: Lane, replica: Replica, problem: str) -> None:
        """See `Watched`."""
        if replica.health is Health.UP:
            self._turn(replica, Health.SUSPECT, problem)
            self.review(lane)

    def healed(self, lane: Lane, replica: Replica, model: str) -> None:
        """See `Watched`. After an outage the check was the probe of that model's breaker, too."""
        now = self._clock.monotonic()
        replica.answered(now)
        if replica.health is Health.DOWN:
            for known, breaker in lane.breakers.items():
                breaker.recover(now, proven=known == model)
        if replica.health is not Health.UP:
            self._turn(replica, Health.UP, "")
        self._stir(lane, now)

    def failed(self, lane: Lane, replica: Replica, problem: str, began: float) -> None:
        """See `Watched`. A call that worked in the meantime tells more than a check that had to wait for it."""
        now = self._clock.monotonic()
        if replica.worked >= began:
            self._turn(replica, Health.UP, "")
        else:
            self._turn(replica, Health.DOWN, problem)
            if replica.model and lane.standing((replica.name,)) is not Health.UP:
                lane.breaker(replica.model).fail(now)
        self.review(lane)

    def _turn(self, replica: Replica, health: Health, problem: str) -> None:
        if health is not replica.health:
            _log.info("replica turned", replica=replica.name, health=health.value, problem=problem)
        replica.turn(health, problem, self._clock.monotonic())
        self._wake(replica.name)

    def _stir(self, lane: Lane, now: float) -> None:
        """Grant what can be granted in a lane, and in those that requests move to from it."""
        self._stirred.append(lane)
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._stirred:
                self._pump(self._stirred.popleft(), now)
        finally:
            self._pumping = False

    def _pump(self, lane: Lane, now: float) -> None:
        while (found := lane.next(now)) is not None:
            request, replica = found
            if request.granted.cancelled():
                self.abandon(request)  # its task has not noticed yet
                continue
            if request.deadline <= now:
                self._fail(request, "deadline", late(request))
                continue
            delay = self.limits.governor.delay(lane.name, request.ticket.tokens, now)
            if delay <= 0:
                lane.paced_until = 0.0  # a call that used less than it reserved may have made room before its time
                self._grant(lane, request, replica, now)
            elif now + delay < request.deadline:
                lane.paced_until = now + delay
                self._alarm(lane.paced_until)
                return
            else:
                request.out_of_quota[lane.name] = delay
                self._move(request, "quota", now)

    def _grant(self, lane: Lane, request: Request, replica: Replica, now: float) -> None:
        lane.leave(request, served=True)
        replica.begin(request.target.model, lane.joins(request.ticket))
        request.replica, request.began = replica, now
        self._due(request, request.deadline + LEASE_MARGIN)
        request.granted.set_result(
            Grant(
                request_id=request.ticket.request_id,
                target=request.target,
                replica=replica.name,
                queued=now - request.arrived,
            )
        )

    def end(self, request: Request, ended: Ended) -> None:
        """The call of a grant is over; or its caller, far away, waits for it no more."""
        if request.replica is not None:
            self._end(request, request.replica, ended)
        elif ended.outcome == "cancelled":  # any other is late news of the same request's last call
            self.abandon(request)
            if not request.granted.done():
                request.granted.set_exception(Cancelled("The caller let go of this request."))

    def _end(self, request: Request, replica: Replica, ended: Ended) -> None:
        now = self._clock.monotonic()
        lane = self._forget(request)
        paused = replica.paused_until
        says = judge(lane, request, replica, ended, now)
        opened = lane.breaker(request.target.model).leave(request.given, says, now)
        self.limits.settle(request.ticket, lane.name, ended, now)
        account = [self.lanes[name] for name in self.limits.governor.sharing(lane.name)]
        held = ended.retry_after > 0 and lane.config.kind == "openai"
        if held:
            self.limits.governor.hold(lane.name, ended.retry_after, now)
            for one in account:
                one.held_until = max(one.held_until, now + ended.retry_after)
        self.refusals.counts[ended.outcome] += 1
        if says is Verdict.GOOD and replica.health is not Health.UP:
            self.healed(lane, replica, request.target.model)
        elif trouble := problem(request, replica, ended, says):
            self.suspect(lane, replica, trouble)
        if replica.paused_until > now:
            self._alarm(replica.paused_until)
        if opened:
            _log.warning("breaker opened", backend=lane.name, model=request.target.model, failure=ended.outcome)
        if opened or replica.paused_until > paused:
            self.review(lane)
        for one in account:  # what one of them gave back of the quota is for all
            if held:
                self.review(one)
            else:
                self._stir(one, now)

    def _forget(self, request: Request) -> Lane:
        del self.requests[request.ticket.request_id]
        if request.due is not None:
            self._dues.discard(request.due)
        return self.lanes[request.target.backend]

    def _fail(self, request: Request, reason: str, error: ColonyError) -> None:
        """Refuse a request that waits."""
        lane = self._forget(request)
        self._unqueue(lane, request)
        self._drop(request, reason, error)

    def _drop(self, request: Request, reason: str, error: ColonyError) -> None:
        self.limits.give_back(request.ticket)
        self.refusals.note(request.ticket, reason, error)
        if not request.granted.done():
            request.granted.set_exception(error)

    def _unqueue(self, lane: Lane, request: Request) -> None:
        """Take it out of its queue; a probe it was to make is free for another."""
        lane.leave(request, served=False)
        lane.breaker(request.target.model).leave(request.given, Verdict.NOTHING, self._clock.monotonic())

    def _move(self, request: Request, reason: str, now: float, first: Target | None = None) -> None:
        """Let a request that waits go to another of its targets, to `first` if it can; it keeps its age."""
        self._unqueue(self.lanes[request.target.backend], request)
        try:
            self._stirred.append(route(request, self.lanes, now, first))
        except ColonyError as error:
            self._forget(request)
            self._drop(request, reason, error)

    def review(self, lane: Lane) -> None:
        """Something got worse: those who cannot go here any more go elsewhere."""
        now = self._clock.monotonic()
        for request in lane:
            here = lane.standing(request.ticket.avoid) is not Health.DOWN
            valid = lane.breaker(request.target.model).valid(request.given, now)
            sooner = sooner_elsewhere(request, self.lanes, now) if here and valid else None
            if not here or not valid or sooner is not None:
                self._move(request, "breaker", now, sooner)
        self._stir(lane, now)

    def abandon(self, request: Request) -> None:
        """The caller of `acquire` went away."""
        if self.requests.get(request.ticket.request_id) is not request:
            return
        if request.replica is not None:
            # Granted in the step of the event loop in which it was cancelled: nobody will release it.
            self.end(request, Ended(request_id=request.ticket.request_id, outcome="cancelled"))
            return
        lane = self._forget(request)
        self._unqueue(lane, request)
        self.limits.give_back(request.ticket)
        self.refusals.counts["cancelled"] += 1
        self._stir(lane, self._clock.monotonic())  # what the quota held up may have been this one

    def _due(self, request: Request, at: float) -> None:
        if request.due is not None:
            self._dues.discard(request.due)
        request.due = self._dues.push(at, request)
        self._alarm(at)

    def tick(self) -> float:
        """Act on all that is due; returns when to come again."""
        now = self._clock.monotonic()
        while (held := self._dues.top()) is not None and held.key <= now:
            request = held.item
            if request.replica is None:
                self._fail(request, "deadline", late(request))
            else:
                self.refusals.counts["leases_lost"] += 1
                _log.warning("grant never released", request=request.ticket.request_id, replica=request.replica.name)
                self.end(request, Ended(request_id=request.ticket.request_id, outcome="cancelled"))
        soonest = math.inf if held is None else held.key
        for lane in self.lanes.values():
            self._stir(lane, now)
            pauses = [replica.paused_until for replica in lane.replicas.values()]
            waits = [at for at in (lane.paced_until, *pauses) if at > now] if len(lane) else []
            soonest = min([soonest, *waits])
        return soonest
