"""The books: counted at once, written in batches, kept while the ledger is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.clock import ManualClock, SystemClock
from colony.config.gateway import BackendConfig, GatewayConfig
from colony.errors import BadInput, ColonyError, Unavailable
from colony.ids import Id
from colony.ledger.memory import MemoryLedger
from colony.llm.contracts import LlmCall
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import Caller, CallRecord, Kind, Target, Ticket
from ray_app.gateway.metrics import exposition
from ray_app.gateway.owner import open_owner
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.totals import MOST_NAMES, OTHER, Totals
from ray_app.gateway.usage import BATCH, UsageBook, usage_book
from tests.eventually import assert_eventually


class FailingLedger(MemoryLedger):
    """The twin with a switch: what `record_calls` raises."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.error: ColonyError | None = None
        self.after = False
        """Whether the error comes after the rows were written: the state is unknown to the caller."""
        self.batches: list[int] = []

    async def record_calls(self, rows: Sequence[LlmCall]) -> int:
        await asyncio.sleep(0)
        self.batches.append(len(rows))
        if self.error is not None:
            if self.after:
                await super().record_calls(rows)
            raise self.error
        return await super().record_calls(rows)


def record(number: int = 0, **fields: Any) -> CallRecord:
    given = {"backend": "b", "model": "m", "prompt_tokens": 2, "completion_tokens": 1, **fields}
    caller = Caller(name="a", agent_type="analysis", job="j")
    return CallRecord(**{"request_id": f"r{number}", "caller": caller, "kind": Kind.CHAT, "at": 1.0 + number, **given})


async def test_records_reach_the_ledger_in_batches() -> None:
    ledger = FailingLedger()
    async with usage_book(ledger, SystemClock()) as book:
        for number in range(1200):
            book.record(record(number))
        await assert_eventually(lambda: book.written >= 1000)
    assert await ledger.tokens_of_job("j") == 3600
    assert max(ledger.batches) == BATCH


async def test_a_few_records_do_not_wait_for_more() -> None:
    ledger = FailingLedger()
    async with usage_book(ledger, SystemClock()) as book:
        book.record(record())
        await assert_eventually(lambda: book.written == 1)


async def test_what_is_left_is_written_at_the_end() -> None:
    ledger = FailingLedger()
    async with usage_book(ledger, SystemClock()) as book:
        book.record(record())
    assert await ledger.tokens_of_job("j") == 3


@pytest.mark.parametrize("after", [False, True])
async def test_an_outage_loses_and_doubles_nothing(*, after: bool) -> None:
    ledger = FailingLedger()
    ledger.error, ledger.after = Unavailable("down"), after
    book = UsageBook(ledger, SystemClock())
    for number in range(700):
        book.record(record(number))
    assert not await book.flush()
    assert book.state()["buffered"] == 700
    ledger.error = None
    assert await book.flush()
    assert (book.written, book.dropped) == (700, 0)
    assert await ledger.tokens_of_job("j") == 2100


@given(counts=st.lists(st.integers(0, 900), max_size=8), most=st.integers(1, 1500), up=st.booleans())
async def test_a_long_outage_drops_the_oldest_and_counts_them(counts: list[int], most: int, *, up: bool) -> None:
    ledger = FailingLedger()
    ledger.error = Unavailable("down")
    book = UsageBook(ledger, SystemClock(), most=most)
    number = 0
    for count in counts:
        flushing = asyncio.create_task(book.flush())
        await asyncio.sleep(0)
        for _ in range(count):
            book.record(record(number))
            number += 1
        await flushing
        assert book.state()["buffered"] <= most
    ledger.error = None if up else ledger.error
    await book.flush()
    state = book.state()
    assert state["requests"] == number
    assert book.written + book.dropped + state["buffered"] == number
    if up:
        assert sorted(row.request_id for row in ledger._tables.llm_calls.values()) == sorted(
            f"r{kept}" for kept in range(number - book.written, number)
        )


async def test_a_write_that_is_cancelled_is_tried_again() -> None:
    ledger = FailingLedger()
    book = UsageBook(ledger, SystemClock())
    book.record(record())
    writing = asyncio.create_task(book.flush())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await book.flush()
    assert book.written == 1


async def test_what_the_ledger_refuses_is_counted_and_stops_nothing() -> None:
    ledger = FailingLedger()
    ledger.error = BadInput("never")
    async with usage_book(ledger, SystemClock()) as book:
        book.record(record(1))
        await assert_eventually(lambda: book.dropped == 1)
        ledger.error = None
        book.record(record(2))
        await assert_eventually(lambda: book.written == 1)


async def test_without_a_ledger_requests_are_counted_only() -> None:
    async with usage_book(None, SystemClock()) as book:
        for number in range(10):
            book.record(record(number))
        assert (book.state()["requests"], book.state()["buffered"]) == (10, 0)


def test_totals_are_by_agent_type_model_and_outcome() -> None:
    totals = Totals(0.0)
    totals.add(record(first=0.5, queued=1.0, seconds=2.0), 10.0)
    totals.add(record(cache="hit", backend="", prompt_tokens=0, completion_tokens=0), 10.2)
    totals.add(record(outcome="Unavailable", model="big", completion_tokens=11), 11.0)
    totals.add(record(outcome="cancelled", cache="shared"), 12.0)
    state = totals.state(20.0)
    assert (state["requests"], state["hits"], state["shared"], state["failed"], state["calls"]) == (4, 1, 1, 1, 3)
    assert state["by_model"]["big"]["completion_tokens"] == 11
    assert state["by_agent_type"]["analysis"]["requests"] == 4
    assert state["by_outcome"] == {"Unavailable": 1, "cancelled": 1, "ok": 2}
    assert state["tokens_per_second"] == pytest.approx(13 / 20)
    assert totals.state(71.5)["tokens_per_second"] == pytest.approx(1 / 60, abs=0.01)
    assert totals.state(1000.0)["requests_per_second"] == 0.0


def test_names_that_callers_choose_do_not_fill_the_memory() -> None:
    totals = Totals(0.0)
    for number in range(3 * MOST_NAMES):
        caller = Caller(agent_type=f"t{number}")
        totals.add(record(caller=caller, model=f"m{number}", outcome=f"o{number}"), 1.0)
    state = totals.state(1.0)
    for part in ("by_agent_type", "by_model", "by_outcome"):
        assert len(state[part]) <= MOST_NAMES + 1
    assert state["by_model"][OTHER]["requests"] == 2 * MOST_NAMES


def test_the_exposition_is_what_prometheus_reads() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    book = UsageBook(None, ManualClock())
    book.record(record(caller=Caller(agent_type='a"\\\n')))
    state = {"usage": book.state(), "cache": {"entries": 3, "bytes": 10}, "waiting": 2, "in_flight": 1}
    found = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(exposition(state))
        for sample in family.samples
    }
    assert found["colony_llm_requests_total", ()] == 1
    assert found["colony_llm_agent_type_requests_total", ('a"\\\n',)] == 1
    assert found["colony_llm_model_prompt_tokens_total", ("m",)] == 2
    assert found["colony_llm_outcomes_total", ("ok",)] == 1
    assert found["colony_llm_cache_entries", ()] == 3
    assert found["colony_llm_waiting", ()] == 2
    assert exposition({}) == ""


def samples(state: dict[str, Any]) -> dict[str, Any]:
    """Name and labels -> value."""
    parser = pytest.importorskip("prometheus_client.parser")
    return {
        f"{sample.name.removeprefix('colony_llm_')} {' '.join(sample.labels.values())}".strip(): sample.value
        for family in parser.text_string_to_metric_families(exposition(state))
        for sample in family.samples
    }


async def test_backends_replicas_breakers_and_quotas_are_told_each_on_its_own() -> None:
    plan = GatewayPlan({Id("a"): BackendConfig(kind="scripted", slots=3, requests_per_minute=9)}, {})
    backend = ScriptedBackend("a/0", Script(), plan.backends[Id("a")])
    async with open_owner(plan, GatewayConfig(), {"a": [backend]}, ManualClock()) as owner:
        target = Target(backend="a", model="m")
        await owner.acquire(Ticket(request_id="r", caller=Caller(), kind=Kind.CHAT, targets=(target,), seconds=5))
        found = samples({**await owner.state(), "batches": {"batches": 2, "calls": 40, "largest": 32}})
        await owner.drain("a/0", on=True)
        drained = samples(await owner.state())
    wanted = {"backend_in_flight a": 1, "backend_waiting a": 0, "replica_in_flight a a/0": 1, "replica_slots a a/0": 3}
    assert {name: found[name] for name in wanted} == wanted
    assert (found["replica_up a a/0"], drained["replica_up a a/0"]) == (1, 0)
    assert (found["breaker_state a m"], found["breaker_openings_total a m"]) == (0, 0)
    assert (found["quota_requests a"], found["quota_requests_limit a"]) == (1, 9)
    assert "quota_tokens_limit a" not in found
    assert (found["batches_total"], found["batched_requests_total"], found["batch_largest"]) == (2, 40, 32)


def test_models_without_end_make_no_series_without_end() -> None:
    breakers = {f"m{number}": {"state": "open", "openings": 1} for number in range(1000)}
    found = samples({"backends": {"a": {"breakers": breakers}}})
    assert sum(name.startswith("breaker_state") for name in found) == 50
    assert found["breaker_state a m0"] == 2


def test_of_several_gateways_each_tells_its_own_counts() -> None:
    book = UsageBook(None, ManualClock())
    book.record(record())
    found = samples({"usage": book.state(), "gateway": "g1", "waiting": 2})
    assert found["requests_total g1"] == 1
    assert found["model_requests_total m g1"] == 1
    assert found["waiting"] == 2, "the owner knows it for all"
