from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from colony.clock import ManualClock
from colony.config.gateway import BackendConfig, BreakerConfig, GatewayConfig, LimitsConfig, QueueConfig
from colony.errors import (
    BadInput,
    BudgetSpent,
    Cancelled,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    Overloaded,
    Unavailable,
)
from colony.ids import Id
from ray_app.gateway.contracts import (
    BackendCall,
    BackendLoad,
    Body,
    Caller,
    Chunk,
    Ended,
    Grant,
    Kind,
    PromptSize,
    ServedModel,
    Target,
    Ticket,
)
from ray_app.gateway.dispatch import LEASE_MARGIN
from ray_app.gateway.owner import LocalOwner, open_owner
from ray_app.gateway.plan import GatewayPlan
from tests.eventually import assert_eventually


class Server:
    """A model server that does what the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken: ColonyError | None = None
        self.answers: asyncio.Event | None = None
        """When set, a check waits for it."""
        self.said: BackendLoad | None = None
        self.checks = 0

    def _work(self) -> None:
        if self.broken is not None:
            raise self.broken

    async def answer(self, call: BackendCall) -> Body:
        self._work()
        return {}

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        self._work()
        yield {}

    async def models(self) -> tuple[ServedModel, ...]:
        self._work()
        return (ServedModel(name="m", context=2048),)

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        return PromptSize(tokens=1, exact=True)

    async def check(self, model: str) -> None:
        self.checks += 1
        if self.answers is not None:
            await self.answers.wait()
        self._work()

    async def load(self) -> BackendLoad | None:
        self._work()
        return self.said

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        self._work()


class Stack:
    """An owner with its servers and its clock."""

    def __init__(self, owner: LocalOwner, clock: ManualClock, servers: dict[str, Server]) -> None:
        self.owner = owner
        self.clock = clock
        self.servers = servers
        self.waits: list[asyncio.Task[Grant]] = []

    def ask(self, name: str, **fields: Any) -> asyncio.Task[Grant]:
        task = asyncio.create_task(self.owner.acquire(ticket(name, **fields)))
        self.waits.append(task)
        return task

    async def end(self, name: str, outcome: str = "ok", **fields: Any) -> None:
        await self.owner.release(Ended(request_id=name, outcome=outcome, **fields))

    async def later(self, seconds: float) -> None:
        await turns()
        self.clock.advance(seconds)
        await turns()

    async def lane(self, name: str = "a") -> dict[str, Any]:
        return (await self.owner.state())["backends"][name]

    def health(self, replica: str) -> str:
        return self.owner.dispatch.lanes[replica.split("/")[0]].replicas[replica].health.value

    async def healthy(self, replica: str, value: str) -> None:
        await assert_eventually(lambda: self.health(replica) == value)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def ticket(name: str, **fields: Any) -> Ticket:
    caller = Caller(name=fields.pop("caller", name), job=fields.pop("job", ""))
    backends = fields.pop("on", ("a",))
    targets = tuple(Target(backend=backend, model=fields.get("model", "m")) for backend in backends)
    fields.pop("model", None)
    known = {"request_id": name, "caller": caller, "kind": Kind.CHAT, "targets": targets, "seconds": 60.0}
    return Ticket(**{**known, **fields})


def backend(slots: int = 1, **fields: Any) -> BackendConfig:
    return BackendConfig(kind=fields.pop("kind", "llama_cpp"), urls=("http://127.0.0.1:1",), slots=slots, **fields)


@asynccontextmanager
async def stack(
    config: GatewayConfig | None = None, replicas: int = 1, **backends: BackendConfig
) -> AsyncGenerator[Stack]:
    plan = GatewayPlan({Id(name): own for name, own in (backends or {"a": backend()}).items()}, {})
    clock = ManualClock()
    servers = {name: [Server(f"{name}/{number}") for number in range(replicas)] for name in map(str, plan.backends)}
    config = config or GatewayConfig(breaker=BreakerConfig(failures=3, open_seconds=15.0))
    by_name = {server.name: server for group in servers.values() for server in group}
    async with open_owner(plan, config, servers, clock) as owner:
        made = Stack(owner, clock, by_name)
        await turns()
        yield made
        for wait in made.waits:
            wait.cancel()
        await asyncio.gather(*made.waits, return_exceptions=True)
    assert not owner.dispatch.requests or all(entry.replica for entry in owner.dispatch.requests.values())


async def test_slots_and_two_more_are_granted_at_once_and_the_rest_wait_for_an_end() -> None:
    async with stack() as s:
        grants = [await s.owner.acquire(ticket(str(number))) for number in range(3)]
        assert {grant.replica for grant in grants} == {"a/0"}
        waiting = s.ask("3")
        await s.later(2.0)
        assert not waiting.done()
        await s.end("0", seconds=2.0)
        grant = await waiting
        assert grant.queued == 2.0
        assert grant.target == Target(backend="a", model="m")
        lane = await s.lane()
        assert lane["replicas"]["a/0"]["batch_sizes"] == {1: 1, 2: 1, 3: 2}
        await s.end("nobody")


async def test_calls_that_go_out_together_are_let_in_by_the_batch() -> None:
    async with stack(a=backend(slots=4)) as s:
        together = {"kind": Kind.EMBEDDING, "joins": True}
        for number in range(24):
            await s.owner.acquire(ticket(f"e{number}", **together))
        for number in range(5):
            await s.owner.acquire(ticket(f"c{number}"))
        waiting = s.ask("one too many")
        behind = s.ask("room in the batch, but not its turn", **together)
        await s.later(1.0)
        assert not waiting.done()
        assert not behind.done()
        await s.end("c0")
        await waiting
        await behind
        shown = (await s.lane())["replicas"]["a/0"]
        assert (shown["in_flight"], shown["taken"]) == (30, 6)


async def test_lists_as_long_as_a_batch_take_a_slot_each() -> None:
    async with stack(a=backend(slots=4)) as s:
        for number in range(6):
            await s.owner.acquire(ticket(f"long{number}", kind=Kind.EMBEDDING, joins=32))
        waiting = s.ask("short", kind=Kind.EMBEDDING, joins=1)
        await turns()
        assert not waiting.done()
        await s.end("long0")
        await waiting


async def test_better_priorities_are_granted_first() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        low, high = s.ask("low", priority=5), s.ask("high", priority=1)
        await turns()
        await s.end("0")
        await turns()
        assert high.done()
        assert not low.done()


async def test_an_id_in_use_is_refused() -> None:
    async with stack() as s:
        await s.owner.acquire(ticket("x"))
        with pytest.raises(BadInput):
            await s.owner.acquire(ticket("x"))
        await s.end("x")
        await s.owner.acquire(ticket("x"))


async def test_a_full_queue_refuses_at_once_with_an_estimate() -> None:
    config = GatewayConfig(queue=QueueConfig(length=4))
    async with stack(config, a=backend(slots=2)) as s:
        for number in range(4):
            await s.owner.acquire(ticket(f"run-{number}"))
        await s.later(8.0)
        await s.end("run-0", seconds=8.0)
        for number in range(5):
            s.ask(f"wait-{number}")
        await turns()
        with pytest.raises(Overloaded) as refused:
            await s.owner.acquire(ticket("more"))
        assert refused.value.retry_after == 2.0, "one of four ends in 8 s, so one in 2 s"
        assert (await s.owner.why("more"))["waits_for"] == "queue"


async def test_a_full_queue_lets_requests_go_to_the_next_target() -> None:
    config = GatewayConfig(queue=QueueConfig(length=1))
    async with stack(config, a=backend(), b=backend()) as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        s.ask("waits")
        await turns()
        assert (await s.owner.acquire(ticket("more", on=("a", "b")))).replica == "b/0"


async def test_deadlines_of_those_that_wait() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        soon, later = s.ask("soon", seconds=5.0), s.ask("later", seconds=50.0)
        await turns()
        await s.later(5.0)
        with pytest.raises(DeadlineExceeded):
            await soon
        assert not later.done()
        assert (await s.lane())["waiting"] == 1


async def test_cancelling_takes_it_out_of_the_queue_and_a_grant_on_its_way_back() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        gone, granted, last = s.ask("gone"), s.ask("granted"), s.ask("last")
        await turns()
        gone.cancel()
        await turns()
        assert (await s.lane())["waiting"] == 2
        await s.end("0")
        granted.cancel()  # in the step in which it was granted
        await turns()
        assert granted.cancelled()
        assert last.done(), "its slot went to the next one"
        # Cancelled first, and granted before its task has seen it.
        waits = s.ask("waits")
        await turns()
        waits.cancel()
        await s.end("1")
        await turns()
        assert waits.cancelled()
        assert (await s.owner.state())["in_flight"] == 2


async def test_a_grant_that_is_never_released_is_taken_back() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number), seconds=20.0))
        waiting = s.ask("waits", seconds=100.0)
        await turns()
        await s.later(20.0 + LEASE_MARGIN - 0.1)
        assert not waiting.done()
        await s.later(0.2)
        assert (await waiting).queued > 20
        await s.end("0")
        state = await s.owner.state()
        assert state["in_flight"] == 1
        assert state["counts"]["leases_lost"] == 3


async def test_rates_are_refused_at_once_but_a_second_try_is_free() -> None:
    config = GatewayConfig(limits=LimitsConfig(requests_per_second=1.0, burst=1))
    async with stack(config, replicas=2, a=backend(slots=4)) as s:
        await s.owner.acquire(ticket("1", caller="x"))
        with pytest.raises(Overloaded) as refused:
            await s.owner.acquire(ticket("2", caller="x"))
        assert refused.value.retry_after == pytest.approx(1.0)
        assert (await s.owner.why("2"))["waits_for"] == "rate"
        await s.owner.acquire(ticket("3", caller="y"))
        await s.end("1", "Unavailable")
        assert (await s.owner.acquire(ticket("1", caller="x", avoid=("a/0",)))).replica == "a/1"


async def test_budgets_stop_or_degrade_and_are_given_back() -> None:
    cheap = (Target(backend="b", model="small"),)
    for on_budget in ("stop", "degrade"):
        config = GatewayConfig(limits=LimitsConfig(job_tokens=100, on_budget=on_budget))
        async with stack(config, a=backend(slots=4), b=backend(slots=4)) as s:
            await s.owner.acquire(ticket("1", job="j", tokens=60))
            await s.end("1", prompt_tokens=10, completion_tokens=20)
            await s.owner.acquire(ticket("2", job="j", tokens=60))
            await s.end("2", prompt_tokens=30, completion_tokens=30)
            if on_budget == "stop":
                with pytest.raises(BudgetSpent):
                    await s.owner.acquire(ticket("3", job="j", tokens=60, cheaper=cheap))
                assert (await s.owner.why("3"))["waits_for"] == "budget"
            else:
                assert (await s.owner.acquire(ticket("3", job="j", tokens=60, cheaper=cheap))).target == cheap[0]
                with pytest.raises(BudgetSpent):
                    await s.owner.acquire(ticket("4", job="j", tokens=60))


async def test_quotas_pace_until_a_deadline_would_be_missed() -> None:
    async with stack(a=backend(slots=4, requests_per_minute=2)) as s:
        for number in range(2):
            await s.owner.acquire(ticket(str(number)))
            await s.end(str(number))
        patient, hurried = s.ask("patient", seconds=90.0), s.ask("hurried", seconds=30.0)
        await turns()
        with pytest.raises(Overloaded) as refused:
            await hurried
        assert refused.value.retry_after == pytest.approx(60.0, abs=1.0)
        why = await s.owner.why("patient")
        assert why["waits_for"] == "quota"
        assert why["place"] == 1
        await s.later(61.0)
        assert (await patient).queued == 61.0


async def test_a_quota_that_let_one_through_holds_up_nobody_any_more() -> None:
    async with stack(a=backend(tokens_per_minute=100)) as s:
        await s.owner.acquire(ticket("used", tokens=60))
        await s.end("used", prompt_tokens=60)
        large = s.ask("large", tokens=60, seconds=90.0)
        await turns()
        large.cancel()
        for number in range(3):
            await s.owner.acquire(ticket(str(number), tokens=1))
        waiting = s.ask("waiting", tokens=1, seconds=30.0)
        await turns()
        assert not waiting.done()  # for a slot, not for the minute the large one would have had to wait
        await s.end("0")
        assert (await waiting).replica == "a/0"


async def test_a_quota_out_of_reach_sends_requests_to_the_next_target() -> None:
    async with stack(a=backend(slots=4, tokens_per_minute=100), b=backend()) as s:
        await s.owner.acquire(ticket("1", tokens=90))
        assert (await s.owner.acquire(ticket("2", tokens=900, on=("a", "b")))).replica == "b/0"
        with pytest.raises(ModelRefused):
            await s.owner.acquire(ticket("3", tokens=900))


async def test_failures_open_the_breaker_and_the_fallback_is_used() -> None:
    async with stack(a=backend(slots=4), b=backend(slots=4)) as s:
        for number in range(3):
            assert (await s.owner.acquire(ticket(str(number)))).replica == "a/0"
            await s.end(str(number), "Unavailable")
            await s.healthy("a/0", "up")  # the check works: it is this model that does not
        assert (await s.lane())["breakers"]["m"]["state"] == "open"
        assert (await s.owner.acquire(ticket("3", on=("a", "b")))).replica == "b/0"
        with pytest.raises(Unavailable, match="breaker"):
            await s.owner.acquire(ticket("4"))
        assert (await s.owner.why("4"))["waits_for"] == "breaker"
        assert (await s.owner.acquire(ticket("5", model="other"))).replica == "a/0"
        await s.later(15.0)
        await s.owner.acquire(ticket("probe"))
        with pytest.raises(Unavailable):
            await s.owner.acquire(ticket("second"))
        await s.end("probe")
        assert (await s.lane())["breakers"]["m"]["state"] == "closed"
        await s.owner.acquire(ticket("6"))


async def test_refusals_hang_ups_and_impatience_open_nothing() -> None:
    async with stack(a=backend(slots=4)) as s:
        for outcome in ("ModelRefused", "cancelled", "BudgetSpent", "TruncatedAnswer", "NotPermitted") * 3:
            await s.owner.acquire(ticket("x"))
            await s.end("x", outcome)
        for _ in range(5):
            await s.owner.acquire(ticket("x", seconds=2.0))
            await s.later(2.0)
            await s.end("x", "DeadlineExceeded", seconds=2.0)
        lane = await s.lane()
        closed = {"state": "closed", "failures": 0, "openings": 0, "opens_in": 0.0, "open_for": 0.0}
        assert lane["breakers"]["m"] == closed
        assert s.health("a/0") == "up"
        for number in range(3):
            await s.owner.acquire(ticket("x"))
            await s.later(30.0)
            await s.end("x", "DeadlineExceeded", seconds=30.0)
            assert (await s.lane())["breakers"]["m"]["failures"] in (number + 1,)
            await s.healthy("a/0", "up")
        assert (await s.lane())["breakers"]["m"]["state"] == "open"


async def test_those_that_wait_go_elsewhere_when_the_breaker_opens() -> None:
    async with stack(a=backend(slots=1), b=backend(slots=4)) as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        moves, fails = s.ask("moves", on=("a", "b")), s.ask("fails")
        await s.later(3.0)
        s.servers["a/0"].answers = asyncio.Event()
        for number in range(3):
            await s.end(str(number), "Unavailable")
        grant = await moves
        assert (grant.replica, grant.queued) == ("b/0", 3.0)
        with pytest.raises(Unavailable):
            await fails


async def test_one_killed_replica_costs_no_request() -> None:
    """Calls on it come again on the others; its breaker stays closed; when it is back it is used again."""
    async with stack(replicas=3, a=backend(slots=4)) as s:
        grants = [await s.owner.acquire(ticket(str(number))) for number in range(15)]
        assert Counter(grant.replica for grant in grants) == {"a/0": 5, "a/1": 5, "a/2": 5}
        s.servers["a/1"].broken = Unavailable("connection refused")
        for grant in grants:
            if grant.replica == "a/1":
                await s.end(grant.request_id, "Unavailable")
        await s.healthy("a/1", "down")
        again: list[asyncio.Task[Grant]] = []
        for grant in grants:
            if grant.replica == "a/1":
                again.append(s.ask(grant.request_id, avoid=("a/1",)))
            else:
                await s.end(grant.request_id)
        for grant in await asyncio.gather(*again):
            assert grant.replica != "a/1"
            await s.end(grant.request_id)
        assert (await s.lane())["breakers"]["m"]["state"] == "closed"
        s.servers["a/1"].broken = None
        await s.later(5.0)
        await s.healthy("a/1", "up")
        assert "a/1" in {(await s.owner.acquire(ticket(f"new-{number}"))).replica for number in range(3)}


async def test_a_dead_backend_is_refused_at_once_and_used_as_soon_as_it_is_back() -> None:
    async with stack() as s:
        await s.owner.acquire(ticket("1"))
        s.servers["a/0"].broken = Unavailable("connection refused")
        waits = s.ask("2"), s.ask("3"), s.ask("4")
        await turns()
        await s.end("1", "Unavailable")
        await s.healthy("a/0", "down")
        with pytest.raises(Unavailable, match="connection refused"):
            await waits[2]
        with pytest.raises(Unavailable):
            await s.owner.acquire(ticket("5"))
        for name in ("2", "3"):
            await s.end(name, "Unavailable")
        for _ in range(10):
            await s.later(5.0)
        assert (await s.lane())["breakers"]["m"]["state"] == "open"
        s.servers["a/0"].broken = None
        await s.later(5.0)
        await s.healthy("a/0", "up")
        await s.owner.acquire(ticket("6"))
        await s.owner.acquire(ticket("7"))  # the check was the probe


async def test_requests_wait_out_a_check_and_work_that_ends_well_cuts_it_short() -> None:
    async with stack(a=backend(slots=2)) as s:
        server = s.servers["a/0"]
        server.answers = asyncio.Event()  # a busy server: the check waits like anybody else
        await s.owner.acquire(ticket("1"))
        await s.owner.acquire(ticket("2"))
        await s.end("1", "Unavailable")
        waits = s.ask("3")
        await turns()
        assert (await s.owner.why("3"))["waits_for"] == "health"
        await s.later(1.0)
        await s.end("2", seconds=1.0)
        assert (await waits).replica == "a/0"
        server.broken = Unavailable("too late to matter")
        server.answers.set()
        await turns()
        assert s.health("a/0") == "up"


async def test_a_hanging_server_is_found_through_callers_that_leave() -> None:
    async with stack() as s:
        s.servers["a/0"].broken = DeadlineExceeded("silence")
        await s.owner.acquire(ticket("1", seconds=8.0))
        await s.later(8.0)
        await s.end("1", "cancelled", seconds=8.0)
        await s.healthy("a/0", "down")


async def test_an_idle_replica_that_vanished_is_noticed_before_the_next_request() -> None:
    async with stack(replicas=2) as s:
        s.servers["a/0"].broken = Unavailable("gone")
        await s.later(3.0)
        await s.healthy("a/0", "down")
        assert (await s.owner.acquire(ticket("1"))).replica == "a/1"


async def test_load_of_others_is_read() -> None:
    async with stack(replicas=2, a=backend(slots=4)) as s:
        s.servers["a/0"].said = BackendLoad(running=3)
        await s.later(3.0)
        assert [(await s.owner.acquire(ticket(str(number)))).replica for number in range(3)] == ["a/1"] * 3
        assert (await s.lane())["replicas"]["a/0"]["others"] == 3


async def test_a_release_of_one_who_waits_takes_it_out_of_the_queue() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        gone, stays = s.ask("gone"), s.ask("stays")
        await turns()
        await s.end("gone", "Unavailable")  # late news of an earlier call: it still waits
        assert (await s.lane())["waiting"] == 2
        await s.end("gone", "cancelled")
        with pytest.raises(Cancelled):
            await gone
        assert (await s.lane())["waiting"] == 1
        await s.end("0")
        assert (await stays).request_id == "stays"


async def test_draining_ends_what_runs_and_starts_nothing() -> None:
    async with stack(replicas=2) as s:
        await s.owner.acquire(ticket("1"))
        await s.owner.drain("a/0", True)
        assert {(await s.owner.acquire(ticket(f"b{number}"))).replica for number in range(3)} == {"a/1"}
        waits = s.ask("waits")
        await turns()
        await s.end("1")
        await turns()
        assert not waits.done()
        await s.owner.drain("a/1", True)
        with pytest.raises(Unavailable, match="draining"):
            await waits
        await s.owner.drain("a/0", False)
        assert (await s.owner.acquire(ticket("2"))).replica == "a/0"
        with pytest.raises(NotFound):
            await s.owner.drain("a/9", True)


async def test_a_request_waits_for_a_replica_it_does_not_avoid_and_holds_up_nobody() -> None:
    async with stack(replicas=2) as s:
        for number in range(6):
            await s.owner.acquire(ticket(str(number)))
        picky, easy = s.ask("picky", avoid=("a/0",), priority=1), s.ask("easy", priority=5)
        await turns()
        await s.end("0")
        assert (await easy).replica == "a/0"
        assert not picky.done()
        assert (await s.owner.why("picky"))["place"] == 1
        await s.end("1")
        assert (await picky).replica == "a/1"
        with pytest.raises(Unavailable, match="every replica failed"):
            await s.owner.acquire(ticket("nowhere", avoid=("a/0", "a/1")))


async def test_an_overloaded_replica_is_left_alone_for_a_while() -> None:
    ollama = BackendConfig(kind="ollama", urls=("http://127.0.0.1:1",), slots=2)
    async with stack(a=ollama) as s:
        await s.owner.acquire(ticket("1"))
        await s.end("1", "Overloaded", retry_after=7.0)
        waits = s.ask("2")
        await turns()
        why = await s.owner.why("2")
        assert why["waits_for"] == "overload"
        await s.later(6.9)
        assert not waits.done()
        await s.later(0.2)
        assert (await waits).queued == pytest.approx(7.1)


async def test_while_a_backend_asks_to_be_left_alone_the_next_one_is_used() -> None:
    async with stack(replicas=2, a=backend(slots=2), b=backend(slots=2)) as s:
        for name in ("1", "2"):
            await s.owner.acquire(ticket(name, on=("a", "b")))
        await s.end("1", "Overloaded", retry_after=7.0)
        assert (await s.owner.acquire(ticket("3", on=("a", "b")))).replica == "a/1", (
            "its other replica asked for nothing"
        )
        await s.end("2", "Overloaded", retry_after=7.0)
        assert (await s.owner.acquire(ticket("4", on=("a", "b")))).target.backend == "b"
        only = s.ask("only", on=("a",))
        await turns()
        assert not only.done()
        assert (await s.lane())["breakers"]["m"]["failures"] == 0, "who asks for time is not broken"
        await s.later(7.1)
        assert (await only).target.backend == "a"
        assert (await s.owner.acquire(ticket("5", on=("a", "b")))).target.backend == "a"


async def test_a_provider_that_says_429_is_left_for_the_next_target_as_long_as_it_asked() -> None:
    async with stack(a=backend(slots=2, kind="openai"), b=backend(slots=2)) as s:
        await s.owner.acquire(ticket("1", on=("a", "b")))
        await s.end("1", "Overloaded", retry_after=40.0)
        await s.later(39.0)
        assert (await s.owner.acquire(ticket("2", on=("a", "b")))).target.backend == "b"
        await s.later(1.1)
        assert (await s.owner.acquire(ticket("3", on=("a", "b")))).target.backend == "a"


async def test_of_those_that_wait_for_a_pause_as_many_move_as_begin_sooner_elsewhere() -> None:
    async with stack(a=backend(), b=backend()) as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        waits = [s.ask(f"waits-{number}", on=("a", "b")) for number in range(6)]
        s.ask("only")
        await turns()
        await s.end("0", "Overloaded")  # a pause of a second
        await turns()
        assert [wait.done() for wait in waits] == [True, True, True, False, False, False]
        assert ((await s.lane("b"))["waiting"], (await s.lane())["waiting"]) == (1, 3)
        await s.later(1.1)
        assert waits[4].done(), "the pause is over"


async def test_who_moves_goes_to_the_target_that_begins_sooner_not_to_the_first_that_works() -> None:
    async with stack(a=backend(), b=backend(), c=backend()) as s:
        for number in range(3):
            await s.owner.acquire(ticket(f"a-{number}", on=("a",)))
        for number in range(8):
            s.ask(f"b-{number}", on=("b",))
        waits = s.ask("waits", on=("a", "b", "c"))
        await turns()
        assert [(await s.lane(name))["waiting"] for name in "abc"] == [1, 5, 0]
        await s.end("a-0", "Overloaded")  # a pause of a second; what waits for b takes longer
        assert (await waits).target.backend == "c"


async def test_nobody_leaves_a_short_pause_for_a_quota_that_is_used_up() -> None:
    async with stack(a=backend(), b=backend(slots=2, requests_per_minute=1)) as s:
        await s.owner.acquire(ticket("used", on=("b",)))
        await s.end("used")
        s.ask("paced", on=("b",), seconds=90.0)
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        waits = s.ask("waits", on=("a", "b"))
        await turns()
        await s.end("0", "Overloaded")  # a pause of a second
        await s.later(1.1)
        assert (await waits).target.backend == "a"


async def test_a_hosted_provider_gets_no_more_at_once_than_its_slots() -> None:
    async with stack(a=backend(slots=2, kind="openai")) as s:
        for number in range(2):
            await s.owner.acquire(ticket(str(number)))
        waits = s.ask("2")
        await turns()
        assert not waits.done()
        await s.end("0")
        assert (await waits).replica == "a/0"


async def test_a_check_that_the_server_refuses_proves_nothing_of_the_model() -> None:
    async with stack(a=backend(slots=4)) as s:
        s.servers["a/0"].broken = Unavailable("it is broken")
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        for number in range(3):
            await s.end(str(number), "Unavailable")
        await s.healthy("a/0", "down")
        assert (await s.lane())["breakers"]["m"]["state"] == "open"
        s.servers["a/0"].broken = NotFound("no such model")
        await s.later(5.0)
        await s.healthy("a/0", "up")
        assert (await s.lane())["breakers"]["m"]["state"] == "half_open"


async def test_a_call_that_works_proves_its_own_model_only() -> None:
    async with stack(a=backend(slots=8)) as s:
        server = s.servers["a/0"]
        server.answers = asyncio.Event()
        server.broken = Unavailable("it is broken")
        await s.owner.acquire(ticket("good", model="other"))
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        for number in range(3):
            await s.end(str(number), "Unavailable")
        server.answers.set()
        await s.healthy("a/0", "down")
        await s.end("good")
        assert s.health("a/0") == "up"
        assert (await s.lane())["breakers"]["m"]["state"] == "half_open"


async def test_a_request_that_did_not_fit_counts_once_against_the_rate() -> None:
    config = GatewayConfig(limits=LimitsConfig(requests_per_second=1.0, burst=1))
    async with stack(config) as s:
        await s.owner.acquire(ticket("1", caller="x"))
        await s.end("1", "PromptTooLong")
        assert (await s.owner.acquire(ticket("1", caller="x", again=True))).replica == "a/0"


async def test_why_tells_from_the_first_second_for_how_long_a_provider_asked_to_be_left_alone() -> None:
    async with stack(a=backend(slots=2, kind="openai")) as s:
        await s.owner.acquire(ticket("1"))
        await s.end("1", "Overloaded", retry_after=40.0)
        s.ask("2")
        await turns()
        why = await s.owner.why("2")
        assert why["waits_for"] == "quota"
        assert "40.0 s" in why["freed_by"]
        await s.later(2.0)
        why = await s.owner.why("2")
        assert why["waits_for"] == "quota"
        assert "38.0 s" in why["freed_by"]


async def test_a_provider_that_says_429_is_held_for_all_its_replicas() -> None:
    async with stack(replicas=2, a=backend(slots=2, kind="openai")) as s:
        await s.owner.acquire(ticket("1"))
        await s.end("1", "Overloaded", retry_after=40.0)
        waits, hurried = s.ask("2"), s.ask("3", seconds=10.0)
        await turns()
        assert (await s.owner.why("2"))["waits_for"] == "quota"
        with pytest.raises(Overloaded) as refused:
            await hurried
        assert refused.value.retry_after == 40.0
        await s.later(40.1)
        assert waits.done()


async def test_a_429_to_one_backend_of_an_account_leaves_no_request_waiting_at_another() -> None:
    account = backend(slots=1, kind="openai", quota="team")
    async with stack(a=account, b=account, c=backend()) as s:
        await s.owner.acquire(ticket("at a", on=("a",)))
        await s.owner.acquire(ticket("at b", on=("b",)))
        waits = s.ask("waits", on=("b", "c"))
        await turns()
        assert not waits.done()
        await s.end("at a", "Overloaded", retry_after=40.0)
        assert (await waits).target.backend == "c"
        assert (await s.owner.acquire(ticket("new", on=("a", "b", "c")))).target.backend == "c"


async def test_tokens_that_one_backend_gives_back_let_those_of_its_account_go_at_once() -> None:
    account = backend(slots=1, kind="openai", quota="team", tokens_per_minute=100)
    async with stack(a=account, b=account) as s:
        await s.owner.acquire(ticket("before", tokens=50))
        await s.end("before", completion_tokens=50)
        await s.owner.acquire(ticket("at a", tokens=50))
        waits = s.ask("waits", on=("b",), tokens=40, seconds=90.0)
        await turns()
        assert not waits.done()
        await s.end("at a", completion_tokens=10)
        await turns()
        assert waits.done()


async def test_why_says_what_runs_what_waits_and_where() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        s.ask("x", caller="one"), s.ask("y", caller="one"), s.ask("z", caller="two")
        await s.later(4.0)
        assert (await s.owner.why("1"))["state"] == "running"
        places = {name: (await s.owner.why(name))["place"] for name in "xyz"}
        assert places == {"x": 1, "z": 2, "y": 3}
        why = await s.owner.why("z")
        assert (why["waits_for"], why["since"], why["of"], why["gives_up_in"]) == ("slot", 4.0, 3, 56.0)
        assert "3 calls under way on a/0" in why["freed_by"]
        with pytest.raises(NotFound):
            await s.owner.why("never")


async def test_174_callers_on_4_slots_get_equal_shares() -> None:
    config = GatewayConfig(limits=LimitsConfig(requests_per_second=1000, burst=1000))
    async with stack(config, a=backend(slots=4)) as s:
        served: Counter[str] = Counter()

        async def caller(name: str) -> None:
            for number in range(1000):
                grant = await s.owner.acquire(ticket(f"{name}-{number}", caller=name, priority=3, seconds=10_000.0))
                served[name] += 1
                await s.clock.sleep(1.0)
                await s.end(grant.request_id, seconds=1.0, first=0.1)

        callers = [asyncio.create_task(caller(f"agent-{number}")) for number in range(174)]
        for _ in range(600):
            await s.later(1.0)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        mean = sum(served.values()) / 174
        assert sum(served.values()) >= 600 * 6 - 200, "six at once, a second each, never idle"
        assert min(served.values()) >= mean / 2
        assert max(served.values()) <= mean * 1.5
        sizes = (await s.lane())["replicas"]["a/0"]["batch_sizes"]
        assert sizes[6] > 0.9 * sum(sizes.values()), "the backend was kept full"


async def test_closing_refuses_those_that_wait() -> None:
    async with stack() as s:
        for number in range(3):
            await s.owner.acquire(ticket(str(number)))
        waits = s.ask("4")
        await turns()
        s.owner.dispatch.close()
        with pytest.raises(Unavailable, match="stopping"):
            await waits
