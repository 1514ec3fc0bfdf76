"""Contract: the books on language models."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colony.clock import ManualClock
from colony.errors import AlreadyExists
from colony.ledger.memory import MemoryLedger
from colony.ledger.port import Ledger
from colony.llm.contracts import CachedAnswer, JobBudget, LlmCall, ModelUse
from tests.contract.ledger.fleet_of_one import LetTimePass

pytestmark = pytest.mark.contract


def call(number: int = 0, **fields: Any) -> LlmCall:
    row = LlmCall(
        request_id=f"r{number}",
        ended_at=1_700_000_000.125 + number,
        agent="analysis-00001",
        agent_type="analysis",
        job="j",
        kind="chat",
        backend="default",
        model="m",
        tier="fast",
        prompt_tokens=10,
        completion_tokens=5,
        queued=0.5,
        first=0.25,
        seconds=2.0,
        cache="miss",
        outcome="ok",
    )
    return row._replace(**fields)


def kept(name: str, size: int = 10, **fields: Any) -> CachedAnswer:
    return CachedAnswer(name.encode(), b"\x00" * size, "m", 7, 3)._replace(**fields)


@pytest.fixture
def now(ledger: Ledger, manual_clock: ManualClock) -> float:
    """The wall clock of the ledger."""
    return manual_clock.wall() if isinstance(ledger, MemoryLedger) else time.time()


async def test_calls_are_kept_once_however_often_they_are_written(ledger: Ledger) -> None:
    rows = [call(number) for number in range(100)]
    assert await ledger.record_calls([]) == 0
    assert await ledger.record_calls(rows[:60]) == 60
    written = await asyncio.gather(ledger.record_calls(rows), ledger.record_calls(rows[::-1]))
    assert sum(written) == 40
    assert await ledger.tokens_of_job("j") == 1500
    # A client that names all its requests alike is still counted.
    assert await ledger.record_calls([call(200, request_id="r0"), call(200, request_id="r0")]) == 1


async def test_a_job_is_told_which_model_did_what(ledger: Ledger) -> None:
    await ledger.record_calls(
        [
            call(1),
            call(2, prompt_tokens=100),
            call(3, cache="hit", prompt_tokens=0, completion_tokens=0, backend="", seconds=0.5),
            call(4, outcome="Unavailable", completion_tokens=0),
            call(5, outcome="cancelled", completion_tokens=1),
            call(6, model="big", tier="complex"),
            call(7, job="other"),
            call(8, job=""),
        ]
    )
    assert await ledger.calls_of_job("j") == [
        ModelUse("", "m", "fast", 1, 0, 1, 0, 0, 0.5),
        ModelUse("default", "big", "complex", 1, 0, 0, 10, 5, 2.0),
        ModelUse("default", "m", "fast", 4, 1, 0, 130, 11, 8.0),
    ]
    assert await ledger.calls_of_job("nobody") == await ledger.calls_of_job("") == []
    assert await ledger.tokens_of_job("nobody") == await ledger.tokens_of_job("") == 0


async def test_a_job_answers_for_all_it_started(ledger: Ledger) -> None:
    await ledger.adopt_job("child", "top")
    await ledger.adopt_job("grandchild", "child")
    await ledger.adopt_job("child", "top")
    with pytest.raises(AlreadyExists):
        await ledger.adopt_job("child", "other")
    await ledger.record_calls([call(number, job=job) for number, job in enumerate(("top", "child", "grandchild", "x"))])
    assert [await ledger.tokens_of_job(key) for key in ("top", "child", "grandchild")] == [45, 30, 15]
    assert [use.calls for use in await ledger.calls_of_job("top")] == [3]


async def test_budgets_of_a_job_and_those_above_it(ledger: Ledger) -> None:
    await ledger.set_job_budget("top", 1000)
    await ledger.adopt_job("top", "company")
    await ledger.adopt_job("child", "top")
    await ledger.set_job_budget("child", 2**40)
    await ledger.set_job_budget("child", None)
    await ledger.record_calls([call(1, job="child"), call(2, job="top")])
    assert await ledger.job_budgets("child") == [
        JobBudget("child", "top", None, 15),
        JobBudget("top", "company", 1000, 30),
        JobBudget("company", "", None, 30),
    ]
    assert await ledger.job_budgets("nobody") == [JobBudget("nobody", "", None, 0)]


async def test_a_circle_of_jobs_ends(ledger: Ledger) -> None:
    await ledger.adopt_job("a", "b")
    await ledger.adopt_job("b", "a")
    await ledger.record_calls([call(1, job="a"), call(2, job="b")])
    assert await ledger.tokens_of_job("a") == 30
    assert len(await ledger.job_budgets("a")) == 32


@given(name=st.text(st.characters(codec=None), max_size=300), number=st.integers(0, 2**62))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_name_keeps_the_books_of_others_from_being_written(ledger: Ledger, name: str, number: int) -> None:
    rows = [call(number % 2**30, agent=name, job=name, model=name, prompt_tokens=number, request_id=name), call(-1)]
    await ledger.record_calls(rows)
    await ledger.tokens_of_job(name)
    await ledger.calls_of_job(name)
    assert await ledger.tokens_of_job("j") == 15


async def test_old_calls_are_forgotten(ledger: Ledger, now: float) -> None:
    await ledger.record_calls([call(1, ended_at=now - 100), call(2, ended_at=now - 1)])
    assert await ledger.prune_calls(50) == 1
    assert await ledger.tokens_of_job("j") == 15


async def test_answers_are_kept_and_grow_old(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    assert await ledger.cache_get(b"a", 60) is None
    await ledger.cache_put([])
    await ledger.cache_put([kept("a"), kept("b", age=50.0), kept("a", model="second")])
    found = await ledger.cache_get(b"a", 60)
    assert found is not None
    assert found._replace(age=0.0) == kept("a", model="second")
    await let_time_pass(0.1)
    old = await ledger.cache_get(b"b", 60)
    assert old is not None
    assert 50.05 < old.age < 60
    assert await ledger.cache_get(b"b", 50) is None
    await ledger.cache_put([kept("b", size=3)])
    again = await ledger.cache_get(b"b", 50)
    assert again is not None
    assert again.answer == b"\x00" * 3


async def test_answers_that_are_too_old_or_too_many_are_forgotten(ledger: Ledger) -> None:
    ages = {"a": 5.0, "b": 90.0, "c": 20.0, "d": 10.0}
    await ledger.cache_put([kept(name, size=100, age=age) for name, age in ages.items()])
    assert await ledger.cache_prune(60, 1000) == 1
    assert await ledger.cache_prune(60, 200) == 1
    assert [name for name in ages if await ledger.cache_get(name.encode(), 1000)] == ["a", "d"]
    assert await ledger.cache_prune(60, 0) == 2
