"""A background task of the gateway that dies of a fault is told to whoever asks whether the gateway is well."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

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
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.catalog import open_catalog
from ray_app.gateway.compose import Setting, open_local_owner
from ray_app.gateway.contracts import BackendLoad, Caller, CallRecord, Kind, ServedModel
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.usage import usage_book
from tests.eventually import assert_eventually

CONFIG = BackendConfig(kind="scripted")
PARTS = ("owner", "catalog", "cache", "usage")


class FaultyBackend(ScriptedBackend):
    """Fails in a way that no adapter may."""

    async def load(self) -> BackendLoad | None:
        raise ZeroDivisionError("a fault")

    async def models(self) -> tuple[ServedModel, ...]:
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
        case _:
            book = await stack.enter_async_context(usage_book(ledger, clock, vitals=vitals))
            book.record(CallRecord(request_id="r", caller=Caller(), kind=Kind.CHAT))


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
