"""Hosts on Ray: the real `HostRuntime`. Only JSON bytes and strings cross; every call has a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
import ray
import structlog
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util import list_named_actors

from colony.contracts import BatchProgress, BatchReport, BatchRequest, HostBeat
from colony.errors import AlreadyExists, ColonyError, Permanent, Unavailable, by_name
from colony.ids import RAY_NAMESPACE, Id, host_name
from colony.lifecycle import TaskOwner
from ray_app.actor import HostActor
from ray_app.fleet import HostHandle, slot_of, within

_log = structlog.get_logger(__name__)
_ray: Any = ray  # its annotations leave the type of an actor unknown
_named: Any = list_named_actors  # annotated as text, but with all namespaces it gives dictionaries
_LOOK_SECONDS: Final = 0.5

_CALL_SECONDS: Final = 35.0
_QUICK_SECONDS: Final = 5.0
_START_SECONDS: Final = 60.0
_BATCH_SECONDS: Final = 4 * 3600.0
_CONCURRENCY: Final = 10_000


class RayHost:
    """`HostHandle` of one Ray actor."""

    def __init__(self, slot: int, actor: Any, died: Callable[[RayHost], None]) -> None:
        self.slot = slot
        self.actor = actor
        self.identity: dict[str, Any] = {}
        self.dead = False
        self._died = died

    @property
    def name(self) -> Id:
        """See `HostHandle`."""
        return host_name(self.slot)

    @property
    def incarnation(self) -> str:
        """See `HostHandle`."""
        return str(self.identity.get("incarnation", ""))

    async def start(self) -> None:
        """Have the actor open its host. Raises what that raises."""
        self.identity = await self.call("start", seconds=_START_SECONDS)

    async def identify(self) -> None:
        """Learn the incarnation of an actor that somebody else started."""
        self.identity = await self.call("identity", seconds=_QUICK_SECONDS)

    async def assign(self, shards: Sequence[int]) -> None:
        """See `HostHandle`."""
        await self.call("assign", orjson.dumps(list(shards)))

    async def refresh(self) -> None:
        """See `HostHandle`."""
        await self.call("refresh")

    async def run_batch(self, request: BatchRequest, trace: str = "") -> BatchReport:
        """See `HostHandle`."""
        along = [trace.encode()] if trace else []
        answer = await self.call("run_batch", _json(request), *along, seconds=_BATCH_SECONDS)
        return BatchReport.model_validate(answer)

    async def progress(self, request: BatchRequest) -> BatchProgress | None:
        """See `HostHandle`."""
        answer = await self.call("progress", _json(request), seconds=_QUICK_SECONDS)
        return None if answer is None else BatchProgress.model_validate(answer)

    async def status(self) -> HostBeat:
        """See `HostHandle`."""
        return HostBeat.model_validate(await self.call("status", seconds=_QUICK_SECONDS))

    async def drain(self) -> None:
        """See `HostHandle`."""
        await self.call("drain")

    async def call(self, method: str, *arguments: bytes, seconds: float = _CALL_SECONDS) -> Any:
        """Call the actor. Raises the host's own error, `Unavailable` if it is dead, `DeadlineExceeded`."""
        if self.dead:
            raise Unavailable(f"{self.name} is dead.")
        try:
            content = await within(seconds, _result(getattr(self.actor, method).remote(*arguments)))
        except RayActorError as error:
            self._died(self)
            raise Unavailable(f"{self.name} died.") from error
        except RayError as error:
            raise Unavailable(f"{self.name} does not answer: {type(error).__name__}.") from error
        answer: dict[str, Any] = orjson.loads(content)
        if "error" in answer:
            raise _error(str(answer["error"]), str(answer["message"]))
        return answer.get("value")

    async def watch(self) -> None:
        """Return once the actor is dead or its host is over."""
        try:
            await _result(self.actor.wait_over.remote())
        except RayError as error:
            _log.info("a host is gone", host=self.name, error=type(error).__name__)
        self._died(self)


class RayHosts:
    """`HostRuntime` on Ray. Needs `ray.init` in this process first. Adopts hosts that a former process started."""

    def __init__(self, home: Path, tasks: TaskOwner, *, python_path: str) -> None:
        self._home = home
        self._tasks = tasks
        self._python_path = python_path
        self._hosts: dict[int, RayHost] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._starting: set[int] = set()
        self._asked: set[RayHost] = set()
        """Hosts that are being asked who they are."""
        self._looked_at = float("-inf")

    async def start_host(self, slot: int) -> None:
        """See `HostRuntime`."""
        known = self._hosts.get(slot)
        if known is not None and not known.dead:
            raise AlreadyExists(f"{known.name} is alive.")
        name = host_name(slot)
        try:
            actor = await within(_START_SECONDS, asyncio.to_thread(self._create, name, slot))
        except ValueError as error:
            raise AlreadyExists(f"Ray still has an actor called {name}.") from error
        except RayError as error:
            raise Unavailable(f"Ray could not create {name}: {type(error).__name__}.") from error
        host = self._adopt(slot, actor)
        self._starting.add(slot)
        try:
            await host.start()
        except (ColonyError, asyncio.CancelledError):
            await self.kill_host(slot)
            raise
        finally:
            self._starting.discard(slot)

    async def kill_host(self, slot: int) -> None:
        """See `HostRuntime`. A frozen process cannot obey Ray, so the signal is sent as well where it can be."""
        host = self._hosts.pop(slot, None)
        if host is None:
            return
        host.dead = True
        _kill_process(host.identity)
        try:
            await within(_QUICK_SECONDS, asyncio.to_thread(_ray.kill, host.actor, no_restart=True))
        except (RayError, ColonyError) as error:
            _log.warning("Ray could not kill a host", host=host.name, error=str(error))

    async def hosts(self) -> Mapping[int, HostHandle]:
        """See `HostRuntime`. Looked up twice a second at most; waits for Ray, never for a host.

        Raises `Unavailable` when Ray does not answer.
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _LOOK_SECONDS:
            await self._look()
            self._looked_at = now
        return {slot: host for slot, host in self._hosts.items() if not host.dead}

    async def _look(self) -> None:
        """Adopt hosts that another process started."""
        try:
            names = await within(_QUICK_SECONDS, asyncio.to_thread(_named, all_namespaces=True))
        except (RayError, RuntimeError) as error:
            raise Unavailable(f"Ray does not answer: {type(error).__name__}.") from error
        for entry in names:
            slot = slot_of(str(entry["name"])) if entry["namespace"] == RAY_NAMESPACE else None
            if slot is None:
                continue
            known = self._hosts.get(slot)
            if known is None or known.dead:
                await self._find(slot)
            elif not known.identity and slot not in self._starting:
                self._identify_soon(known)

    def on_death(self, callback: Callable[[], None]) -> None:
        """See `HostRuntime`."""
        self._callbacks.append(callback)

    def _create(self, name: str, slot: int) -> Any:
        remote: Any = _ray.remote(HostActor)
        return remote.options(
            name=name,
            namespace=RAY_NAMESPACE,
            lifetime="detached",
            max_restarts=0,
            max_task_retries=0,
            num_cpus=0,
            max_concurrency=_CONCURRENCY,
            # Hosts ask for no processor, so only the label keeps them off nodes that are for other things.
            label_selector={"colony-hosts": "!refused"},
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"COLONY_HOME": str(self._home), "PYTHONPATH": self._python_path}},
        ).remote(str(self._home), slot)

    async def _find(self, slot: int) -> None:
        """Adopt an actor found by its name."""
        try:
            actor = await within(
                _QUICK_SECONDS, asyncio.to_thread(_ray.get_actor, host_name(slot), namespace=RAY_NAMESPACE)
            )
        except (ValueError, RayError, GetTimeoutError) as error:
            _log.info("an actor went away while it was looked up", slot=slot, error=type(error).__name__)
            return
        known = self._hosts.get(slot)
        # Ray lists an actor for a moment after its death: that one is known already.
        if known is None or known.actor != actor:
            self._identify_soon(self._adopt(slot, actor))

    def _identify_soon(self, host: RayHost) -> None:
        """Ask a host who it is, without waiting for it: one that hangs must not hold up the others."""
        if host not in self._asked:
            self._asked.add(host)
            self._tasks.start(self._identify(host), name=f"identify {host.name}")

    async def _identify(self, host: RayHost) -> None:
        try:
            await host.identify()
        except ColonyError as error:
            _log.info("a host does not say yet who it is", host=host.name, error=str(error))
        finally:
            self._asked.discard(host)

    def _adopt(self, slot: int, actor: Any) -> RayHost:
        host = RayHost(slot, actor, self._note_death)
        self._hosts[slot] = host
        self._tasks.start(host.watch(), name=f"watch {host.name}")
        return host

    def _note_death(self, host: RayHost) -> None:
        if not host.dead:
            host.dead = True
            for callback in self._callbacks:
                callback()


async def _result(reference: Any) -> bytes:
    return await asyncio.wrap_future(reference.future())


def _json(model: BatchRequest) -> bytes:
    return model.model_dump_json().encode()


def _error(name: str, message: str) -> ColonyError:
    made = by_name(name)
    return made(message) if made is not Permanent else Permanent(f"{name}: {message}")


def _kill_process(identity: Mapping[str, Any]) -> None:
    """SIGKILL to the very process that told us its pid, if it is on this machine."""
    try:
        process = psutil.Process(int(identity["pid"]))
        if process.create_time() == float(identity["created"]):
            os.kill(process.pid, signal.SIGKILL)
    except (KeyError, psutil.Error, ProcessLookupError, PermissionError) as error:
        _log.debug("no process to kill", error=type(error).__name__)
