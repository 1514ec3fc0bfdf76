"""Who may call which replica, and when: the one owner of limits, queues, slots and breakers, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from colony.clock import Clock
from colony.config.gateway import GatewayConfig
from colony.errors import BadInput, ColonyError, NotFound, Overloaded
from colony.lifecycle import Vitals, task_owner
from ray_app.gateway.alarm import Alarm
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.contracts import Ended, Grant, Ticket
from ray_app.gateway.dispatch import Dispatch
from ray_app.gateway.governor import Governor
from ray_app.gateway.health import HealthWatch
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.limits import AgentRates
from ray_app.gateway.permits import Limits
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend
from ray_app.gateway.why import explain


class LocalOwner:
    """`Owner` in this process. Use through `open_owner`.

    All decisions are `Dispatch`'s, each in one step of the event loop; only `acquire` waits, for its turn.
    """

    def __init__(self, lanes: Sequence[Lane], limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self._limits = limits
        self._alarm = Alarm(clock)
        self.health = HealthWatch(clock)
        self.dispatch = Dispatch(lanes, limits, clock, alarm=self._alarm.set, wake=self.health.wake)

    async def acquire(self, ticket: Ticket) -> Grant:
        """See `Owner`. Also raises `BadInput` for an id in use, `ModelRefused` for more tokens than a quota holds."""
        now = self._clock.monotonic()
        dispatch = self.dispatch
        if ticket.request_id in dispatch.requests:
            raise BadInput(f"The request id {ticket.request_id[:100]!r} is in use.", remedy="Use one for each request.")
        reason = "rate"
        try:
            self._limits.take_rate(ticket, now)
            reason = "budget"
            targets = self._limits.reserve(ticket)
        except ColonyError as error:
            dispatch.refusals.note(ticket, reason, error)
            raise
        granted: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        request = Request(ticket, targets, targets[0], now, now + ticket.seconds, granted)
        try:
            dispatch.submit(request)
        except ColonyError as error:
            self._limits.give_back(ticket)
            dispatch.refusals.note(ticket, "queue" if isinstance(error, Overloaded) else "breaker", error)
            raise
        try:
            # Most are granted by now: no need to go around the event loop.
            return granted.result() if granted.done() else await granted
        except asyncio.CancelledError:
            dispatch.abandon(request)
            raise

    async def release(self, ended: Ended) -> None:
        """See `Owner`. The end of a request that still waits takes it out of the queue."""
        request = self.dispatch.requests.get(ended.request_id)
        if request is not None:
            self.dispatch.end(request, ended)

    async def state(self) -> dict[str, Any]:
        """See `Owner`."""
        now = self._clock.monotonic()
        dispatch = self.dispatch
        return {
            "backends": {name: lane.shown(now) for name, lane in dispatch.lanes.items()},
            "waiting": sum(len(lane) for lane in dispatch.lanes.values()),
            "in_flight": sum(request.replica is not None for request in dispatch.requests.values()),
            "counts": dict(dispatch.refusals.counts),
            "quotas": self._limits.governor.state(now),
            "budgets": self._limits.budgets.state(),
            "callers": len(self._limits.rates),
        }

    async def why(self, request_id: str) -> dict[str, Any]:
        """See `Owner`. Also knows the last few requests that were refused."""
        request = self.dispatch.requests.get(request_id)
        if request is not None:
            return explain(request, self.dispatch.lanes[request.target.backend], self._clock.monotonic())
        refused = self.dispatch.refusals.why(request_id)
        if refused is None:
            raise NotFound(f"No request {request_id[:100]!r} waits or runs.", remedy="It is over, or it never came.")
        return refused

    async def drain(self, replica: str, on: bool) -> None:
        """See `Owner`."""
        for lane in self.dispatch.lanes.values():
            if replica in lane.replicas:
                lane.replicas[replica].draining = on
                self.dispatch.review(lane)
                return
        raise NotFound(f"There is no replica {replica[:100]!r}.", remedy="See `colony llm`.")

    async def run(self) -> None:
        """Do what time demands, for ever: give up what is late, take back what was never released, go on pacing."""
        while True:
            await self._alarm.wait(self.dispatch.tick())


@asynccontextmanager
async def open_owner(
    plan: GatewayPlan,
    config: GatewayConfig,
    backends: Mapping[str, Sequence[Backend]],
    clock: Clock,
    *,
    rates: AgentRates | None = None,
    budgets: Budgets | None = None,
    vitals: Vitals | None = None,
) -> AsyncGenerator[LocalOwner]:
    """The owner of `backends` (backend -> its replicas), with its watch over them. Those that wait at the end fail.

    Of its background tasks `vitals` is told: without them no deadline, lease or pace is kept.
    """
    limits = Limits(rates or AgentRates(config.limits), Governor(plan), budgets or Budgets(config.limits))
    lanes = [
        Lane(name, own, [one.name for one in backends[name]], config.queue, config.breaker, config.batch.size)
        for name, own in plan.backends.items()
    ]
    owner = LocalOwner(lanes, limits, clock)
    async with task_owner() as tasks:
        if vitals is not None:
            vitals.watch(tasks)
        tasks.start(owner.run(), name="gateway owner")
        for lane in lanes:
            for backend in backends[lane.name]:
                replica = lane.replicas[backend.name]
                watch = owner.health.watch(owner.dispatch, lane, replica, backend)
                tasks.start(watch, name=f"health of {replica.name}")
        try:
            yield owner
        finally:
            owner.dispatch.close()
