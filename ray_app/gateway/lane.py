"""One backend as the owner sees it: its queue, its replicas, its breakers, and how fast it goes. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from colony.config.gateway import BackendConfig, BreakerConfig, QueueConfig
from ray_app.gateway.balance import choose
from ray_app.gateway.breaker import NEVER, Breaker, Pass
from ray_app.gateway.contracts import Grant, Kind, Target, Ticket
from ray_app.gateway.heap import Held
from ray_app.gateway.joining import takes_joined
from ray_app.gateway.queue import FairQueue, Waiting, cost_of
from ray_app.gateway.slots import EXTRA, Health, Joint, Replica

FIRST_GUESS: Final = 2.0
"""Seconds a call is thought to take before one has been measured."""

_WEIGHT: Final = 0.1
"""Weight of the newest call in the measured time of a call."""

_ROOM: Final = 0.1
"""Share of a full queue that must be served before a new request is worth sending."""


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way from `acquire` to `release`. Times are monotonic seconds."""

    ticket: Ticket
    targets: tuple[Target, ...]
    target: Target
    """Where it waits or runs."""
    arrived: float
    deadline: float
    granted: asyncio.Future[Grant]
    given: Pass = NEVER
    """Leave of the breaker of its target."""
    waiting: Waiting | None = None
    replica: Replica | None = None
    """Where it runs; None while it waits."""
    began: float = 0.0
    due: Held[Request] | None = field(default=None, repr=False)
    """When the owner acts by itself: gives up, or takes the lease back."""
    out_of_quota: dict[str, float] = field(default_factory=dict[str, float])
    """Backend -> seconds until its quota would let this through: more than it has."""


class Lane:
    """See the module. Time is handed in, in monotonic seconds."""

    def __init__(
        self,
        name: str,
        config: BackendConfig,
        replicas: Sequence[str],
        queue: QueueConfig,
        breaker: BreakerConfig,
        together: int = 1,
    ) -> None:
        """`together` is how many inputs may go out as one call, of the kinds that may."""
        self.name = name
        self.config = config
        extra = 0 if config.kind == "openai" else EXTRA
        self.replicas = {replica: Replica(replica, config.slots, together, extra) for replica in replicas}
        self.breakers: dict[str, Breaker] = {}
        self.queue = FairQueue(queue.length, queue.ageing)
        self.parked: dict[str, Request] = {}
        """Those at the head whose only free replicas are ones they avoid: they go first on another one."""
        self.paced_until = 0.0
        """The quota lets nothing through until then."""
        self.held_until = 0.0
        """The provider asked to be left alone until then."""
        self.call_seconds = 0.0
        """Measured time of a call, as an average that follows the last ones."""
        self._together = together
        self._breaker = breaker
        self._requests: dict[str, Request] = {}

    def __iter__(self) -> Iterator[Request]:
        """All that wait here."""
        return iter(tuple(self._requests.values()))

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def full(self) -> bool:
        """Whether it takes no more requests."""
        return len(self._requests) >= self.queue.length

    def breaker(self, model: str) -> Breaker:
        """The breaker of one model."""
        found = self.breakers.get(model)
        if found is None:
            found = self.breakers[model] = Breaker(self._breaker)
        return found

    def standing(self, avoid: Collection[str] = ()) -> Health:
        """The best that can be said of the replicas that are not avoided; DOWN when none can be used."""
        best = Health.DOWN
        for replica in self.replicas.values():
            if replica.usable and replica.name not in avoid:
                if replica.health is Health.UP:
                    return Health.UP
                best = Health.SUSPECT
        return best

    def pause(self, avoid: Collection[str], now: float) -> float:
        """Seconds for which all replicas that are up and not avoided asked to be left alone; 0 where one did not."""
        pauses = [
            replica.paused_until
            for replica in self.replicas.values()
            if replica.health is Health.UP and not replica.draining and replica.name not in avoid
        ]
        return max(0.0, max(self.held_until, min(pauses, default=0.0)) - now)

    def add(self, request: Request, target: Target, given: Pass, now: float) -> None:
        """Let a request wait here. Only when not `full`."""
        ticket = request.ticket
        request.target, request.given = target, given
        request.waiting = Waiting(
            request_id=ticket.request_id,
            caller=ticket.caller.name,
            priority=ticket.priority,
            prefix=ticket.prefix,
            cost=cost_of(ticket.tokens),
            arrived=request.arrived,
        )
        self.queue.push(request.waiting, now)
        self._requests[ticket.request_id] = request

    def next(self, now: float) -> tuple[Request, Replica] | None:
        """Who goes next and where, left in place; None when nobody waits or nothing is free."""
        replicas = self.replicas.values()
        for request in self.parked.values():
            replica = choose(replicas, request.ticket.prefix, request.ticket.avoid, now, self.joins(request.ticket))
            if replica is not None:
                return request, replica
        while (head := self.queue.head(now)) is not None:
            request = self._requests[head.request_id]
            joins = self.joins(request.ticket)
            if not any(replica.free(now, joins) for replica in replicas):
                return None  # it is its turn: what could go along with calls under way does not pass it
            replica = choose(replicas, head.prefix, request.ticket.avoid, now, joins)
            if replica is not None:
                return request, replica
            self.queue.take(head)
            self.parked[head.request_id] = request
        return None

    def joins(self, ticket: Ticket) -> Joint | None:
        """What a call brings to one with others; None for one that goes alone, as does one that fills it by itself."""
        if not 0 < ticket.joins < self._together or not takes_joined(ticket.kind, self.config.kind):
            return None
        return Joint(ticket.kind, 1 if ticket.kind is Kind.COMPLETION else ticket.joins)

    def leave(self, request: Request, *, served: bool) -> None:
        """A request waits here no longer; `served`: because it was its turn."""
        request_id = request.ticket.request_id
        del self._requests[request_id]
        if self.parked.pop(request_id, None) is not None:
            return
        if served and request.waiting is not None:
            self.queue.take(request.waiting)
        else:
            self.queue.cancel(request_id)

    def measure(self, seconds: float) -> None:
        """A call that ended well took so long."""
        self.call_seconds += (seconds - self.call_seconds) * (_WEIGHT if self.call_seconds else 1.0)

    def begins_in(self, now: float) -> float:
        """Seconds until a request that comes now would go, by quota and pace of the last calls; 0 for at once."""
        free = sum(replica.admitted - replica.taken for replica in self.replicas.values() if replica.free(now))
        ahead = len(self._requests) - free
        return max(0.0, self.paced_until - now, 0.0 if ahead < 0 else self.expected(ahead))

    def expected(self, ahead: int) -> float:
        """Seconds until a request with so many ahead of it would go, at the pace of the last calls."""
        running = [replica for replica in self.replicas.values() if replica.usable]
        at_once = sum(replica.admitted for replica in running)
        if not at_once:
            return self.config.timeout
        return (ahead + 1) * (self.call_seconds or FIRST_GUESS) / at_once

    def room_in(self) -> float:
        """Seconds until a full queue has room for more than the next one to try."""
        return self.expected(int(self.queue.length * _ROOM))

    def shown(self, now: float) -> dict[str, Any]:
        """For `colony llm`."""
        oldest = min((request.arrived for request in self._requests.values()), default=now)
        return {
            "standing": self.standing().value,
            "waiting": len(self._requests),
            "length": self.queue.length,
            "callers": self.queue.callers(),
            "oldest_seconds": round(now - oldest, 3),
            "by_priority": self.queue.by_priority(),
            "call_seconds": round(self.call_seconds, 3),
            "paced_seconds": round(max(0.0, self.paced_until - now), 3),
            "in_flight": sum(replica.in_flight for replica in self.replicas.values()),
            "replicas": {replica.name: replica.shown(now) for replica in self.replicas.values()},
            "breakers": {
                model: {
                    "state": breaker.state(now).value,
                    "failures": breaker.failures,
                    "openings": breaker.openings,
                    "opens_in": round(breaker.opens_in(now), 1),
                    "open_for": round(breaker.open_for(now), 1),
                }
                for model, breaker in self.breakers.items()
            },
        }
