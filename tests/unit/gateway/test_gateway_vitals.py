"""A background task of the gateway that dies of a fault is told to whoever asks whether the gateway is well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, nullcontext

import pytest

from colony.clock import ManualClock, SystemClock
from colony.config.endpoints import Endpoints
from colony.config.gateway import BackendConfig, CacheConfig
from colony.config.model import Config
from colony.errors import Unavailable
from colony.ids import Id
from colony.ledger.memory import MemoryLedger
from colony.lifecycle import Vitals
from colony.llm.contracts import LlmCall
from colony.llm.pool import PoolModelState
from ray_app.gateway.backends.embedded_pool import open_embedded_pool
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.catalog import open_catalog
from ray_app.gateway.compose import Setting, open_local_owner
from ray_app.gateway.contracts import BackendCall, BackendLoad, Caller, CallRecord, Kind, ServedModel
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.preparing import preparation
from ray_app.gateway.usage import usage_book
from tests.eventually import assert_eventually
from tests.servers.bad_http import bad_server, page

CONFIG = BackendConfig(kind="scripted", models=("one",))
PARTS = ("owner", "catalog", "cache", "usage", "preparation", "lease")
LOADED = PoolModelState(
    name="m", state="loaded", url="http://127.0.0.1:1", context=512, slots=1, embeddings=False, critical=False
)


class FaultyBackend(ScriptedBackend):
    """Fails in a way that no adapter may."""

    async def load(self) -> BackendLoad | None:
        raise ZeroDivisionError("a fault")

    async def models(self) -> tuple[ServedModel, ...]:
        raise ZeroDivisionError("a fault")

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        raise ZeroDivisionError("a fault")


class FaultyClock(SystemClock):
    """Fails in a way that no clock may."""

    async def sleep(self, seconds: float) -> None:
        raise ZeroDivisionError("a fault")


class FaultyLedger(MemoryLedger):
    """Fails in a way that no ledger may."""

    async def cache_prune(self, max_age: float, max_bytes: int) -> int:
        raise ZeroDivisionError("a fault")

    async def record_calls(self, rows: Sequence[LlmCall]) -> int:
        raise ZeroDivisionError("a fault")


async def _open(stack: AsyncExitStack, part: str, vitals: Vitals, *, faulty: bool) -> None:
    clock = SystemClock()
    backends = {"one": [(FaultyBackend if faulty else ScriptedBackend)("one/0", Script(), CONFIG)]}
    ledger = (FaultyLedger if faulty else MemoryLedger)(ManualClock())
    match part:
        case "owner":
            setting = Setting(Endpoints.model_construct(), Config(), GatewayPlan({Id("one"): CONFIG}, {}))
            await stack.enter_async_context(open_local_owner(setting, backends, ledger, clock, vitals))
        case "catalog":
            await stack.enter_async_context(open_catalog(backends, clock, vitals=vitals))
        case "cache":
            await stack.enter_async_context(answer_cache(CacheConfig(persist=True), clock, ledger, vitals=vitals))
        case "preparation":
            plan = GatewayPlan({Id("one"): CONFIG}, {})
            await stack.enter_async_context(preparation(plan, backends, clock, vitals=vitals))
        case "lease":
            await _lease(stack, vitals, FaultyClock() if faulty else clock)
        case _:
            book = await stack.enter_async_context(usage_book(ledger, clock, vitals=vitals))
            book.record(CallRecord(request_id="r", caller=Caller(), kind=Kind.CHAT))


async def _lease(stack: AsyncExitStack, vitals: Vitals, clock: SystemClock) -> None:
    """A call under way on a model of the pool, whose lease is to be renewed."""
    pool = await stack.enter_async_context(bad_server(page(LOADED.model_dump_json().encode())))
    slow = ScriptedBackend("m", Script(first=60), BackendConfig(kind="scripted", models=("m",)))
    opened = open_embedded_pool("one/0", pool.url, "", lambda _: nullcontext(slow), clock=clock, vitals=vitals)
    backend = await stack.enter_async_context(opened)
    call = BackendCall(kind=Kind.COMPLETION, model="m", body={"prompt": "x"}, seconds=60)
    calling = asyncio.create_task(backend.answer(call))
    stack.callback(calling.cancel)
    await assert_eventually(lambda: slow.running == 1)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_whose_background_task_dies_is_not_well(part: str) -> None:
    vitals = Vitals()

    async def told() -> bool:
        try:
            vitals.check()
        except Unavailable as error:
            return "a fault" in str(error)
        return False

    async with AsyncExitStack() as stack:
        await _open(stack, part, vitals, faulty=True)
        await assert_eventually(told)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_works_is_well_to_its_end(part: str) -> None:
    vitals = Vitals()
    async with AsyncExitStack() as stack:
        await _open(stack, part, vitals, faulty=False)
        vitals.check()
    vitals.check()
