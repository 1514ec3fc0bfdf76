from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson
import pytest

from colony.ids import RAY_NAMESPACE, host_name
from colony.lifecycle import task_owner
from ray_app import ray_hosts
from ray_app.ray_hosts import RayHosts
from tests.eventually import assert_eventually


class Method:
    """A method of an actor, with the answer it will give or none ever."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def remote(self) -> Method:
        return self

    def future(self) -> Future[bytes]:
        found: Future[bytes] = Future()
        if self._answer is not None:
            found.set_result(self._answer)
        return found


class Actor:
    """What the runtime holds of a host process: one that answers, or one that is frozen."""

    def __init__(self, incarnation: str) -> None:
        identity = {"value": {"incarnation": incarnation, "pid": 0, "created": 0.0}}
        self.identity = Method(orjson.dumps(identity) if incarnation else None)
        self.wait_over = Method(None)


async def test_a_frozen_host_holds_up_nobody_who_asks_for_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    actors = {host_name(0): Actor(""), host_name(1): Actor("incarnation-1")}

    def named(**_options: Any) -> list[dict[str, str]]:
        return [{"name": name, "namespace": RAY_NAMESPACE} for name in actors]

    def get_actor(name: Any, **_options: Any) -> Actor:
        return actors[name]

    monkeypatch.setattr(ray_hosts, "_named", named)
    monkeypatch.setattr(ray_hosts._ray, "get_actor", get_actor)
    monkeypatch.setattr(ray_hosts, "_LOOK_SECONDS", 0.0)
    async with task_owner() as tasks:
        hosts = RayHosts(Path("/nowhere"), tasks, python_path="")

        async def known() -> bool:
            found = await asyncio.wait_for(hosts.hosts(), 2)
            return {slot: host.incarnation for slot, host in found.items()} == {0: "", 1: "incarnation-1"}

        await assert_eventually(known)
        assert len(hosts._asked) == 1
