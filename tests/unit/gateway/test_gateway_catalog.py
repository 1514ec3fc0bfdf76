"""What backends serve, asked by many at once."""

from __future__ import annotations

import asyncio

from colony.clock import ManualClock
from colony.config.gateway import BackendConfig
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.catalog import Catalog
from ray_app.gateway.contracts import ServedModel
from tests.eventually import assert_eventually

CONFIG = BackendConfig(kind="scripted", models=("small",))


class Counted(ScriptedBackend):
    asked = 0

    async def models(self) -> tuple[ServedModel, ...]:
        self.asked += 1
        return await super().models()


def looked_at() -> tuple[Catalog, Counted]:
    backend = Counted("one/0", Script(), CONFIG)
    return Catalog({"one": [backend]}, ManualClock()), backend


async def test_those_who_ask_during_a_look_share_the_next_one() -> None:
    catalog, backend = looked_at()
    backend.hang()
    first = asyncio.create_task(catalog.refresh())
    await assert_eventually(lambda: backend.asked == 1)
    others = [asyncio.create_task(catalog.refresh()) for _ in range(50)]
    await asyncio.sleep(0)
    backend.revive()
    await asyncio.gather(first, *others)
    assert backend.asked == 2
    await catalog.refresh()
    assert backend.asked == 3
    assert [model.name for model in catalog.served["one"]] == ["small"]


async def test_a_look_that_is_given_up_is_taken_on_by_the_next() -> None:
    catalog, backend = looked_at()
    backend.hang()
    first, second = asyncio.create_task(catalog.refresh()), asyncio.create_task(catalog.refresh())
    await assert_eventually(lambda: backend.asked == 1)
    first.cancel()
    await asyncio.wait({first})
    backend.revive()
    await second
    assert backend.asked == 2
    assert "one" in catalog.served
