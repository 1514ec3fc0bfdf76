"""Any order of asking, ending, giving up, failing and waiting leaves the books of the owner right."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from colony.clock import ManualClock
from colony.config.gateway import BackendConfig, BreakerConfig, GatewayConfig, LimitsConfig, QueueConfig
from colony.errors import ColonyError
from colony.ids import Id
from ray_app.gateway.breaker import State
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.contracts import Caller, Ended, Grant, Kind, Target, Ticket
from ray_app.gateway.dispatch import LEASE_MARGIN, Dispatch
from ray_app.gateway.governor import Governor
from ray_app.gateway.lane import Lane, Request
from ray_app.gateway.limits import AgentRates
from ray_app.gateway.permits import Limits
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.slots import Health

OUTCOMES = ("ok", "ok", "ok", "Unavailable", "DeadlineExceeded", "ModelRefused", "Overloaded", "cancelled")
CONFIG = GatewayConfig(
    queue=QueueConfig(length=6),
    breaker=BreakerConfig(failures=2, open_seconds=5.0, probes=2),
    limits=LimitsConfig(job_tokens=100_000),
)
BACKENDS = {
    "a": BackendConfig(kind="ollama", urls=("http://127.0.0.1:1", "http://127.0.0.1:2"), slots=1),
    "b": BackendConfig(kind="openai", urls=("http://127.0.0.1:3",), slots=2, requests_per_minute=5),
}

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3), st.integers(1, 5), st.integers(0, 5), st.floats(1.0, 100.0)),
        st.tuples(st.just("ask"), st.integers(0, 3), st.integers(1, 5), st.integers(0, 5), st.floats(1.0, 100.0)),
        st.tuples(st.just("end"), st.integers(0, 20), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("end"), st.integers(0, 20), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.floats(0.0, 20.0)),
        st.tuples(st.just("check"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("drain"), st.integers(0, 2), st.booleans()),
    ),
    min_size=25,
    max_size=100,
)


class _World:
    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        plan = GatewayPlan({Id(name): config for name, config in BACKENDS.items()}, {})
        self.lanes = [
            Lane(name, config, [f"{name}/{n}" for n in range(len(config.urls))], CONFIG.queue, CONFIG.breaker, 3)
            for name, config in BACKENDS.items()
        ]
        self.limits = Limits(AgentRates(CONFIG.limits), Governor(plan), Budgets(CONFIG.limits))
        self.dispatch = Dispatch(self.lanes, self.limits, self.clock, alarm=lambda at: None, wake=lambda name: None)
        self.asked: list[Request] = []

    def ask(self, caller: int, priority: int, shape: int, seconds: float) -> None:
        targets = tuple(Target(backend=name, model="m") for name in ("a", "b", "ab")[shape % 3])
        ticket = Ticket(
            request_id=str(len(self.asked)),
            caller=Caller(name=f"c{caller}", job="job"),
            kind=Kind.EMBEDDING if caller == 3 else Kind.CHAT,
            joins=shape % 4 if caller == 3 else 0,
            targets=targets,
            priority=priority,
            tokens=100,
            prefix=shape,
            seconds=seconds,
            avoid=("a/0",) if shape > 3 else (),
        )
        now = self.clock.monotonic()
        self.limits.reserve(ticket)
        granted: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        request = Request(ticket, ticket.targets, ticket.targets[0], now, now + seconds, granted)
        self.asked.append(request)
        try:
            self.dispatch.submit(request)
        except ColonyError as error:
            self.limits.give_back(ticket)
            granted.set_exception(error)

    def some(self, number: int, *, running: bool) -> Request | None:
        found = [entry for entry in self.dispatch.requests.values() if (entry.replica is not None) == running]
        return found[number % len(found)] if found else None

    def step(self, step: tuple[Any, ...]) -> None:
        replicas = [(lane, replica) for lane in self.lanes for replica in lane.replicas.values()]
        match step:
            case ("ask", caller, priority, shape, seconds):
                for _ in range(1 + shape // 2):
                    self.ask(caller, priority, shape, seconds)
            case ("end", number, outcome):
                request = self.some(number, running=True)
                if request is not None:
                    ended = Ended(request_id=request.ticket.request_id, outcome=outcome, seconds=6.0)
                    self.dispatch.end(request, ended)
            case ("leave", number):
                request = self.some(number, running=False)
                if request is not None:
                    request.granted.cancel()
                    self.dispatch.abandon(request)
            case ("wait", seconds):
                self.clock.advance(seconds)
                self.dispatch.tick()
            case ("check", number, True):
                self.dispatch.healed(*replicas[number], "m")
            case ("check", number, _):
                self.dispatch.failed(*replicas[number], "dead", self.clock.monotonic())
            case (_, number, draining):
                lane, replica = replicas[number]
                replica.draining = draining
                self.dispatch.review(lane)

    def check(self) -> None:
        now = self.clock.monotonic()
        requests = self.dispatch.requests
        for lane in self.lanes:
            assert len(lane) == len(lane.queue) + len(lane.parked)
            assert len(lane) <= CONFIG.queue.length
            for request in lane:
                assert requests[request.ticket.request_id] is request
                assert request.target.backend == lane.name
                assert lane.standing(request.ticket.avoid) is not Health.DOWN, "nobody waits for what cannot come"
            for replica in lane.replicas.values():
                mine = [entry for entry in requests.values() if entry.replica is replica]
                assert replica.in_flight == len(mine)
                joint = [joins for entry in mine if (joins := lane.joins(entry.ticket)) is not None]
                assert replica.joint.total() == sum(joins.weight for joins in joint)
                assert replica.taken <= replica.admitted
                assert all(replica.name not in entry.ticket.avoid for entry in mine)
            free = any(replica.free(now) for replica in lane.replicas.values())
            held = lane.paced_until > now or all("a/1" in entry.ticket.avoid or entry.ticket.avoid for entry in lane)
            assert not (free and len(lane)) or held, "nothing free stays idle while somebody waits"
        for request in self.asked:
            waits = request.ticket.request_id in requests and request.replica is None
            assert request.granted.done() != waits
        assert self.limits.budgets.use("job").reserved == 100 * len(requests)

    def finish(self) -> None:
        """Everybody's time is over: nothing may be left."""
        self.clock.advance(101.0 + LEASE_MARGIN)
        self.dispatch.tick()
        assert not self.dispatch.requests
        assert not any(len(lane) or lane.queue.callers() for lane in self.lanes)
        assert not any(replica.in_flight for lane in self.lanes for replica in lane.replicas.values())
        self.check()
        for lane in self.lanes:
            for replica in lane.replicas.values():
                replica.draining = False
                self.dispatch.healed(lane, replica, "m")
        for lane in self.lanes:
            for breaker in lane.breakers.values():
                assert breaker.state(self.clock.monotonic()) is not State.OPEN
        for shape in (0, 1):  # one on each backend
            self.ask(0, 1, shape, 100.0)
            request = self.asked[-1]
            assert not request.granted.done() or request.granted.exception() is None, "no probe was lost"
            self.clock.advance(61.0)
            self.dispatch.tick()
            assert request.granted.result().target == request.targets[0]


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_books_are_right_after_any_steps(steps: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = _World()
        for step in steps:
            world.step(step)
            world.check()
        world.finish()
        for request in world.asked:
            if request.granted.done() and not request.granted.cancelled():
                request.granted.exception()  # looked at, so that asyncio does not complain

    asyncio.run(run())
