"""What survives a restart of the gateway: budgets and the cache, through the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from colony.clock import ManualClock, SystemClock
from colony.config.gateway import CacheConfig, LimitsConfig
from colony.errors import BudgetSpent, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.llm.contracts import CachedAnswer, JobBudget, LlmCall
from ray_app.gateway.budget_recovery import REST, RecoveringOwner
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.cache import AnswerCache, KeptAnswer
from ray_app.gateway.contracts import Caller, Ended, Grant, Kind, Target, Ticket
from ray_app.gateway.kept_cache import KeptCache, answer_cache
from ray_app.gateway.single_flight import SingleFlight, single_flight
from tests.eventually import assert_eventually

PERSIST = CacheConfig(persist=True)
ANSWER = KeptAnswer.of({"id": "x", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 4}})


class SwitchedLedger(MemoryLedger):
    """The twin with a switch."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.down = False
        self.reads = 0

    def _look(self) -> None:
        self.reads += 1
        if self.down:
            raise Unavailable("down")

    async def job_budgets(self, key: str) -> list[JobBudget]:
        await asyncio.sleep(0)
        self._look()
        return await super().job_budgets(key)

    async def cache_get(self, key: bytes, max_age: float) -> CachedAnswer | None:
        self._look()
        return await super().cache_get(key, max_age)

    async def cache_put(self, answers: Sequence[CachedAnswer]) -> None:
        self._look()
        await super().cache_put(answers)


class BudgetOwner:
    """Grants whatever the budget allows."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    async def acquire(self, ticket: Ticket) -> Grant:
        if not self._budgets.reserve(ticket.caller.job, ticket.tokens).allowed:
            raise BudgetSpent("spent")
        return Grant(request_id=ticket.request_id, target=ticket.targets[0], replica="b/0")

    async def release(self, ended: Ended) -> None:
        del ended

    async def state(self) -> dict[str, Any]:
        return {"budgets": self._budgets.state()}

    async def why(self, request_id: str) -> dict[str, Any]:
        return {"request": request_id}

    async def drain(self, replica: str, on: bool) -> None:
        del replica, on


def ticket(job: str, tokens: int = 10) -> Ticket:
    target = Target(backend="b", model="m")
    caller = Caller(name="a", job=job)
    return Ticket(request_id="r", caller=caller, kind=Kind.CHAT, targets=(target,), tokens=tokens, seconds=5)


def used(job: str, tokens: int) -> LlmCall:
    return LlmCall("r" + job, 1.0, "a", "t", job, "chat", "b", "m", "fast", tokens, 0, 0.0, 0.0, 1.0, "miss", "ok")


@pytest.fixture
async def flights() -> AsyncGenerator[SingleFlight[list[JobBudget]]]:
    async with single_flight() as found:
        yield found


@pytest.fixture
def ledger() -> SwitchedLedger:
    return SwitchedLedger()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def budgets() -> Budgets:
    return Budgets(LimitsConfig(job_tokens=100))


@pytest.fixture
def owner(
    budgets: Budgets, ledger: SwitchedLedger, clock: ManualClock, flights: SingleFlight[list[JobBudget]]
) -> RecoveringOwner:
    return RecoveringOwner(BudgetOwner(budgets), budgets, ledger, clock, flights)


async def test_what_a_job_used_before_counts(owner: RecoveringOwner, ledger: SwitchedLedger) -> None:
    await ledger.record_calls([used("j", 95)])
    with pytest.raises(BudgetSpent):
        await owner.acquire(ticket("j"))
    await owner.acquire(ticket("j", 5))
    await owner.acquire(ticket(""))
    await owner.acquire(ticket("other", 100))
    assert ledger.reads == 2


async def test_parents_and_budgets_come_from_the_ledger(
    owner: RecoveringOwner, ledger: SwitchedLedger, budgets: Budgets
) -> None:
    await ledger.set_job_budget("top", 1000)
    await ledger.adopt_job("child", "top")
    await ledger.record_calls([used("top", 900), used("child", 50)])
    with pytest.raises(BudgetSpent):
        await owner.acquire(ticket("child", 51))
    await owner.acquire(ticket("child", 50))
    assert budgets.use("top")[:3] == (950, 50, 1000)
    assert budgets.use("child")[:3] == (50, 50, None)


async def test_many_first_requests_read_once(owner: RecoveringOwner, ledger: SwitchedLedger) -> None:
    await asyncio.gather(*(owner.acquire(ticket("j", 1)) for _ in range(20)))
    assert ledger.reads == 1


async def test_a_ledger_that_is_away_stops_no_model(
    owner: RecoveringOwner, ledger: SwitchedLedger, clock: ManualClock, budgets: Budgets
) -> None:
    await ledger.record_calls([used("j", 80)])
    ledger.down = True
    for _ in range(5):
        await owner.acquire(ticket("j", 1))
    assert ledger.reads == 1
    ledger.down = False
    clock.advance(REST + 1)
    await owner.acquire(ticket("j", 1))
    assert budgets.use("j").used == 80
    assert (await owner.why("x"), (await owner.state())["budgets"]["jobs"]) == ({"request": "x"}, 1)


async def test_why_says_that_the_ledger_is_read(
    owner: RecoveringOwner, ledger: SwitchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def slow(key: str) -> list[JobBudget]:
        del key
        await go_on.wait()
        return []

    monkeypatch.setattr(ledger, "job_budgets", slow)
    asked = asyncio.create_task(owner.acquire(ticket("j", 1)))
    await asyncio.sleep(0)
    found = await owner.why("r")
    assert (found["state"], found["waits_for"]) == ("waiting", "ledger")
    assert found["freed_by"] == "the ledger, which tells what j has used so far"
    go_on.set()
    await asked
    assert await owner.why("r") == {"request": "r"}


async def test_answers_are_written_behind_and_recalled(ledger: SwitchedLedger) -> None:
    async with answer_cache(PERSIST, SystemClock(), ledger) as cache:
        assert cache.put(b"k", ANSWER)
        assert cache.get(b"k") == ANSWER
        assert ledger.reads == 0
    async with answer_cache(PERSIST, SystemClock(), ledger) as fresh:
        assert fresh.get(b"k") is None
        assert await fresh.recall(b"k") == ANSWER
        assert fresh.get(b"k") == ANSWER
        assert await fresh.recall(b"other") is None
        assert fresh.state()["recalled"] == 1


async def test_an_answer_from_the_ledger_is_a_hit(ledger: SwitchedLedger) -> None:
    async with answer_cache(PERSIST, SystemClock(), ledger) as cache:
        cache.put(b"k", ANSWER)
    for config, hits in ((PERSIST, 2), (CacheConfig(), 0)):
        async with answer_cache(config, SystemClock(), ledger) as fresh:
            for key in (b"k", b"k", b"other"):
                if fresh.get(key, last=False) is None:
                    await fresh.recall(key)
            counts = fresh.state()
            assert (counts["hits"], counts["misses"]) == (hits, 3 - hits)


async def test_the_cache_goes_on_without_its_ledger(ledger: SwitchedLedger, clock: ManualClock) -> None:
    cache = KeptCache(PERSIST, clock, ledger)
    ledger.down = True
    assert await cache.recall(b"k") is None
    assert await cache.recall(b"k") is None
    assert ledger.reads == 1
    cache.put(b"k", ANSWER)
    await cache.flush()
    assert cache.get(b"k") == ANSWER
    assert (cache.state()["written"], cache.state()["skipped"]) == (0, 1)
    ledger.down = False
    clock.advance(60)
    cache.put(b"k", ANSWER)
    await cache.flush()
    assert (await ledger.cache_get(b"k", 100)) is not None


async def test_the_writer_writes_while_the_cache_is_open(ledger: SwitchedLedger) -> None:
    async with answer_cache(PERSIST, SystemClock(), ledger) as cache:
        cache.put(b"k", ANSWER)
        await assert_eventually(lambda: cache.state()["written"] == 1)


async def test_memory_only_is_the_default(ledger: SwitchedLedger) -> None:
    for config, place in ((CacheConfig(), ledger), (PERSIST, None)):
        async with answer_cache(config, SystemClock(), place) as cache:
            assert type(cache) is AnswerCache
            assert await cache.recall(b"k") is None
